"""The lab: experiments become records.

`plan` groups them into ensembles, `trial` says what one costs by trying it, `run` trains and measures one, by what
`evaluate` and `calibrate` say; `sweep` does what was planned on one of the `engines`, and `store` keeps it all in one
folder. `profile` looks at where the time goes.
"""
