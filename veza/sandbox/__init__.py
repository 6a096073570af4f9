"""A payment provider to develop and test against: it plays Hyperswitch, which takes buyers' money, and the part of
Stripe Connect that pays sellers, as a process of its own with its own book. Never for real money.
"""
