"""Everything that answers HTTP: one door for each kind of user."""
