"""Which of Debian's packages are in the images, and what of them is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SHELL: Final = "shell"
PYTHON: Final = "python"
PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    # What all have: the C library, who is who, names of hosts, certificates.
    "base": ("base-files", "ca-certificates", "gcc-12-base", "libc-bin", "libc6", "libgcc-s1"),
    PYTHON: (
        "libbz2-1.0", "libcrypt1", "libexpat1", "libffi8", "liblzma5", "libpython3.11-minimal",
        "libpython3.11-stdlib", "libsqlite3-0", "libssl3", "libstdc++6", "libuuid1",
        "python3.11-minimal", "zlib1g",
    ),
    SHELL: ("dash", "libcrypt1", "libpcre2-8-0", "libselinux1", "libssl3", "toybox", "zlib1g"),
}  # fmt: skip
"""Debian's packages by the layer they are in; what each needs is named, and checked."""

LEFT_OUT: Final[tuple[str, ...]] = (
    # Programs of the C library's package are GPL, and for building or administering.
    "usr/bin/getconf", "usr/bin/getent", "usr/bin/iconv", "usr/bin/ldd", "usr/bin/locale",
    "usr/bin/localedef", "usr/bin/pldd", "usr/bin/tzselect", "usr/bin/zdump", "usr/bin/catchsegv",
    "usr/sbin/iconvconfig", "usr/sbin/ldconfig", "usr/sbin/zic", "usr/sbin/update-ca-certificates",
    # Modules whose libraries are GPL (readline) or the like (Berkeley DB), and those of terminals
    # and of NIS, which would bring Kerberos. No code of ours imports any.
    "usr/lib/python3.11/lib-dynload/readline.*", "usr/lib/python3.11/lib-dynload/_dbm.*",
    "usr/lib/python3.11/lib-dynload/_curses*", "usr/lib/python3.11/lib-dynload/nis.*",
    "usr/lib/python3.11/lib2to3", "usr/lib/python3.11/pydoc_data",
    "usr/lib/python3.11/idlelib", "usr/lib/python3.11/test", "usr/lib/python3.11/turtle*",
    # The half of zstandard that is for PyPy: 12 MB.
    "usr/local/lib/python3.11/dist-packages/zstandard/_cffi.*",
    # What boto3 knows of Amazon's services, but for S3 and for who may use it: 19 MB.
    *(
        f"usr/local/lib/python3.11/dist-packages/botocore/data/{services}/*"
        for services in ("[!s]*", "s[!3t]*", "st[!s]*", "s3?*")
    ),
    # For installing.
    "usr/share/debianutils", "usr/share/menu", "usr/share/debconf", "usr/share/base-files",
)  # fmt: skip

JAVA_WITHOUT: Final = tuple(
    f"usr/lib/jvm/java-17-openjdk-*/{name}"
    for name in (
        "lib/libawt*", "lib/libfontmanager.so", "lib/libfreetype.so", "lib/libjavajpeg.so",
        "lib/libjsound.so", "lib/liblcms.so", "lib/libmlib_image.so", "lib/libj2pcsc.so",
        "lib/libj2pkcs11.so", "lib/libjawt.so", "lib/libsplashscreen.so", "lib/libsctp.so",
        "lib/security/cacerts", "lib/server/classes*.jsa", "docs", "man",
    )
)  # fmt: skip
POSTGRES: Final = (
    "libcom-err2", "libgssapi-krb5-2", "libicu72", "libk5crypto3", "libkeyutils1", "libkrb5-3",
    "libkrb5support0", "libldap-2.5-0", "liblz4-1", "liblzma5", "libpam0g", "libaudit1",
    "libcap-ng0", "libpq5", "libsasl2-2", "libstdc++6", "libsystemd0", "libcap2", "libgcrypt20",
    "libgpg-error0", "libxml2", "libzstd1", "postgresql-15", "tzdata",
    # Wanted by libldap.
    "libffi8", "libgmp10", "libgnutls30", "libhogweed6", "libidn2-0", "libnettle8", "libp11-kit0",
    "libtasn1-6", "libunistring2",
)  # fmt: skip
POSTGRES_WITHOUT: Final = (
    # Compiling of queries, whose library is larger than PostgreSQL; and what is for people.
    "usr/lib/postgresql/15/lib/llvmjit*", "usr/lib/postgresql/15/lib/bitcode",
    "usr/lib/postgresql/15/lib/pgxml.so", "usr/lib/postgresql/15/lib/pgxs",
    "usr/lib/postgresql/15/lib/uuid-ossp.so",
    "usr/share/postgresql/15/man", "usr/share/locale",
)  # fmt: skip
REDIS: Final = (
    "libatomic1", "libcap2", "libgcrypt20", "libgpg-error0", "libjemalloc2", "liblz4-1", "liblzf1",
    "liblzma5", "libstdc++6", "libsystemd0", "libzstd1", "redis-server", "redis-tools",
)  # fmt: skip
