"""Every figure of the README, measured here: ratios of variants that took turns in one run."""
