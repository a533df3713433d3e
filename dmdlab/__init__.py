"""dmdlab: do few-step diffusion students copy their teacher's noise-data pairing?

A law is noised, a teacher denoises it, its flow pairs noise with data, a student is distilled from it,
and the pairing is measured. The rooms follow that sentence: `laws`, `diffusion`, `networks`, `training`,
`pairing`, `lab`, `plots`.
"""

from importlib.metadata import version

__version__ = version("dmdlab")
