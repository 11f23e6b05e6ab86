"""Stand-ins for real gateways: their API paths and bodies, their signatures, their retries, and their bad days.

The sandbox imports nothing of Ratchet. It is written from the gateways' own documentation, so that where the two
disagree one of them is wrong and a test can say which.
"""
