"""The contenders, each in the fastest use that its documentation shows."""
