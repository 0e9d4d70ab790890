"""Files are the truth: making the index, the documents and the warehouse agree with them.

`rebuild` announces every file of a tenant again, so that the functions that always
fill the index, the metadata documents and the warehouse fill them. `reconcile`
compares the four, study by study, and announces only what differs. Neither writes
what functions write: a replay changes nothing (DECISIONS.md, "Rebuild by replay").
"""
