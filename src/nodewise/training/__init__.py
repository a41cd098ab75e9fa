"""PyTorch: networks, model files, records in memory, strategies. Imported only by the tasks that train and score."""

import os

# Before torch is loaded: it would warn, on the user's terminal, that nobody knows a name for an emulated node.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
