"""Fused kernels: whole sequences of a recurrence on an accelerator, in one launch each way."""
