"""Certificates on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.kinds import certificate


def test_a_certificate_on_disk_is_for_its_owner_only(tmp_path: Path) -> None:
    certificate.write_certificate(str(tmp_path / "tls"))
    assert (tmp_path / "tls").stat().st_mode & 0o077 == 0
    for name in ("cert.pem", "key.pem"):
        assert (tmp_path / "tls" / name).stat().st_mode & 0o077 == 0
        assert "PRIVATE KEY" in (tmp_path / "tls" / "key.pem").read_text()
    with pytest.raises(FileExistsError):
        certificate.write_certificate(str(tmp_path / "tls"))
