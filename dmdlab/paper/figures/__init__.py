"""The paper's figures, panel by panel, from the records of our experiments: `figNN.draw(records)` is figure NN.

Each draws what the records allow, and its caption says what is missing. What is shown of many is the lowest seed, or
rows drawn by the seed: nothing is picked.
"""
