"""The pipeline: each module here is a DVC stage (a verb), each package a subject (a noun).

Packages never import stages, and import each other in one direction only:
config -> sources -> imaging -> modeling -> evaluation, explain -> report.
"""
