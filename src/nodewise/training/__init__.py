"""PyTorch: networks, model files, records in memory. Imported only by the tasks that train and score."""
