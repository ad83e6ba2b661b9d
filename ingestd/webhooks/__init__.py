"""Webhooks: programs of others are told what happens here, by the Standard Webhooks specification."""
