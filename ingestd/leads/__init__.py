"""The leads themselves: who may call them, what happens to them, and who did it. Knows nothing of HTTP."""
