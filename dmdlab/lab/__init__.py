"""The lab: from experiment files to records.

`files` reads experiments, `plan` groups them into ensembles, `run` trains and measures one ensemble, `sweep` does many
and `store` keeps one folder per run. `check` asks whether the teacher is good enough, `summary` averages over seeds.
"""
