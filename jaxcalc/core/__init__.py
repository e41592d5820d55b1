"""What every floor stands on and no mathematics: programs, kernels, devices, shards and the checks of arguments."""
