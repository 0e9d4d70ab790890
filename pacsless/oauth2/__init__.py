"""Access tokens of an OpenID provider: whose request it is, and what it may do.

::

    tokens: AccessTokens = resources.get(AccessTokens)
    access = tokens.access(request.headers.get("Authorization"), request.method, named)
    access.tenant, access.user

A token is a JWT in the header Authorization (RFC 6750 §2.1, RFC 9068), and nowhere
else. `pacsless.oauth2.claims` decides what its claims are worth,
`pacsless.oauth2.provider` has the keys. Only a process that asks for tokens imports
`pacsless.oauth2.tokens`, and with it PyJWT and cryptography.
"""
