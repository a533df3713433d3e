"""The paper (arXiv 2606.02237), figure by figure: what each shows, our experiments for it, how it is drawn, and what
its claims are held against. `dmdlab reproduce` runs and draws them; drawing knows no torch.

    catalogue.py      every figure: what the paper shows, our experiments, the panels that ours promises
    experiments/      our experiments, at both scales: quick (two CPU cores) and paper (its own settings)
    figures/          one drawing function a figure
    kept.py           what the page rests on: a summary of every run
    verdicts.py, claims.py, page.py       the seven claims, for or against, and the page of them
"""
