"""What only a GPU shows: speed, waits, precision, resuming and agreement with the CPU. `python -m benchmarks.gpu`."""
