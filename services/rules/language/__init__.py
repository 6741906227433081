"""The rule language: a folder of YAML files in, a Rulebook or every fault at once out."""
