"""What proves numbers right: sample inputs, layouts, NumPy references, tolerances, programs.

`library` names the module under test (QS_TEST_MODULE, so that the harness itself can be checked
against PyTorch), `case` says what a row of the parity tables is, `run` runs a row.
"""
