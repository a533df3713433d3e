"""The paper's chessboard, shortened: noise, teacher, one step and student of seed 0.

    dmdlab sweep experiments/paper-chessboard.toml student.iterations=10000 student.learning_rate=1e-4 \\
        fake_score.learning_rate=1e-4 teacher.iterations=5000 'seed=[0,1]' --out runs/chessboard-short
    python figures/chessboard.py

Reads runs/chessboard-short; writes chessboard.pdf, .png and .txt (the caption) beside this file.
"""

from pathlib import Path

from dmdlab.plots import save_plot
from dmdlab.records.catalogue import chosen
from dmdlab.records.record import load_records

HERE = Path(__file__).resolve().parent
RUNS = HERE.parent / "runs" / "chessboard-short"


def main() -> None:
    """Write the figure and its caption."""
    records = chosen(load_records(RUNS), ["student.learning_rate=1e-4", "seed=0"])
    save_plot("panels", records, HERE / "chessboard")


if __name__ == "__main__":
    main()
