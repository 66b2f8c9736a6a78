"""Training losses: one file per family; `losses.total.TotalLoss` is the weighted sum of those a configuration names."""
