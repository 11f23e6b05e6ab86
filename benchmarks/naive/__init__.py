"""The usual way, kept for comparison: one ORM commit per request, one task per event, one `requests.post` per delivery.

An honest implementation on the same tables and of the same rules, such as one writes before anything has to be fast.
"""
