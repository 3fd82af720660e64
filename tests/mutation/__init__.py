"""Mutation testing: which change of what decides would no test notice? docs/mutants.md answers for each."""
