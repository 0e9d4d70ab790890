"""Addresses of DICOMweb resources, as clients write them.

One place makes them, so that a BulkDataURI in a prebuilt document is the
address wado_rs answers on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pacsless.identity import InstanceIdentity
    from pacsless.settings import Settings

BULK_DATA: Final = "bulkdata"
"""Path segment below an instance that bulk data lies under."""


def dicomweb_root(settings: Settings, tenant_id: str) -> str:
    """Return where clients find DICOMweb of a tenant, without a trailing slash.

    Examples
    --------
    >>> from pacsless.settings import Settings
    >>> dicomweb_root(Settings(), "default"), dicomweb_root(Settings(), "north")
    ('/dicom-web', '/tenants/north/dicom-web')
    >>> dicomweb_root(Settings(dicomweb_root="https://pacs.example/dicom-web/"), "north")
    'https://pacs.example/tenants/north/dicom-web'
    """
    root = settings.dicomweb_root.rstrip("/")
    if tenant_id == settings.tenant:
        return root
    return f"{root.removesuffix('/dicom-web')}/tenants/{tenant_id}/dicom-web"


def instance_url(root: str, identity: InstanceIdentity) -> str:
    """Return the address of an instance (PS3.18 §10.4.1) below a `dicomweb_root`."""
    return f"{root}/{identity.subject}"


def bulk_data_uri(root: str, identity: InstanceIdentity, path: str) -> str:
    """Return the address of one attribute's value.

    Parameters
    ----------
    root
        From `dicomweb_root`.
    identity
        The instance.
    path
        Tags and item indices from 0: ``7FE00010``, ``54000100/0/54001010``.

    Notes
    -----
    It starts at the server's root and not at the document, because the same
    entry is served at instance, series and study level, and PS3.18 §F.2.6 would
    resolve a relative one differently at each.
    """
    return f"{instance_url(root, identity)}/{BULK_DATA}/{path}"
