"""What nodes cost: the ledger is kept, summed up, exported, held against budgets and set beside the real bill."""
