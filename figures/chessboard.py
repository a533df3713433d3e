"""The paper's chessboard, shortened: noise, teacher, one step and student of seed 0.

    dmdlab sweep experiments/paper-chessboard.toml student.iterations=10000 student.learning_rate=1e-4 \\
        fake_score.learning_rate=1e-4 teacher.iterations=5000 'seed=[0,1]' --out runs/chessboard-short
    python figures/chessboard.py

Reads runs/chessboard-short; writes chessboard.pdf, .png and .txt (the caption) beside this file.
"""

from pathlib import Path

from dmdlab.lab.store import load_records, select
from dmdlab.plots import draw, save

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Write the figure and its caption."""
    records = select(
        load_records(HERE.parent / "runs" / "chessboard-short"), {"student.learning_rate": 1e-4, "seed": 0}
    )
    drawing = draw("panels", records)
    save(drawing.figure, HERE / "chessboard")
    (HERE / "chessboard.txt").write_text(drawing.caption + "\n")


if __name__ == "__main__":
    main()
