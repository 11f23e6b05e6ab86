"""How gateways sign their webhooks, one file each, written from their documentation and from nothing of ours.

`sign(body, secret, at, …)` returns the headers a gateway would send, `at` in unix seconds; where the signature stands
in the body, it returns the body.
"""
