"""The local stack: every part of Pacsless, real, on loopback, below one folder.

`settings` says where things are, `parts` what there is to run, `configuration`
writes what the parts read, `supervision` keeps them running, `probes` knows
when each is ready; `lifecycle` (up and down), `status` and `demo` are what the
commands do.
"""
