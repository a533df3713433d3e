"""`python -m benchmarks`: measured speed, against peers and the machine's limits."""

from benchmarks.suite import main

if __name__ == "__main__":
    main()
