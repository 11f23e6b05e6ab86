"""The operators' door: the stuck-payout report and the evidence behind it, for people who have signed in."""
