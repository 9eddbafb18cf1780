"""Gateways: how one is described, started, asked and stopped."""

from __future__ import annotations

import dataclasses
import getpass
import http.client
import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import HERE, end, family, free_ports, start_pinned
from benchmarks.scenarios import PATHS, WARM_UP, request_body
from benchmarks.upstream import Upstream


@dataclasses.dataclass(frozen=True)
class Gateway:
    """How to start a gateway and talk to it; README.md explains each field."""

    name: str
    url: str
    command: tuple[str, ...] = ()
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cwd: str | None = None
    ready_url: str | None = None
    paths: Mapping[str, str] = dataclasses.field(default_factory=dict)
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    prepare: tuple[Mapping[str, Any], ...] = ()
    count_command: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    memory_streams: int = 2000
    start_timeout: float = 90
    here: Path = HERE

    @classmethod
    def read(cls, file: Path) -> Gateway:
        text = file.read_text()
        fields = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
        unknown = set(fields) - {f.name for f in dataclasses.fields(cls)} | set(fields) & {"here"}
        if unknown:
            sys.exit(f"bench: {file}: unknown fields: {', '.join(sorted(unknown))}")
        for name in ("command", "prepare", "count_command", "skip"):
            fields[name] = tuple(fields.get(name, ()))
        return cls(**fields, here=file.resolve().parent)


NGINX_CONF = """
worker_processes 1; daemon off; pid {tmp}/nginx.pid; error_log stderr crit; worker_rlimit_nofile 19000;
{user}
events { worker_connections 18000; }
http {
  access_log off;
  client_body_temp_path {tmp}/a; proxy_temp_path {tmp}/b; fastcgi_temp_path {tmp}/c;
  uwsgi_temp_path {tmp}/d; scgi_temp_path {tmp}/e;
  client_body_buffer_size 1m; client_max_body_size 100m; keepalive_requests 10000000;
  upstream mock { server 127.0.0.1:{upstream_port}; keepalive 4000; keepalive_requests 10000000; }
  server {
    listen 127.0.0.1:{port} backlog=4096;
    location / {
      proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header x-api-key "central-key";
      proxy_buffering off; proxy_request_buffering on; tcp_nodelay on;
    }
  }
}
"""
DIRECT = "direct"


def nginx(program: str, folder: Path) -> Gateway:
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    (folder / "nginx.conf.in").write_text(NGINX_CONF.replace("{user}", user))
    return Gateway(
        name="nginx",
        url="http://127.0.0.1:{port}",
        command=(program, "-p", "{tmp}", "-e", "stderr", "-c", "{tmp}/nginx.conf"),
        files={"nginx.conf": "nginx.conf.in"},
        here=folder,
    )


class CannotRun(Exception):
    """The gateway did not start or did not answer; the text says why."""


class Run:
    """One start of one gateway: its own folder, port and secrets."""

    def __init__(self, gateway: Gateway, upstream: Upstream, folder: Path, cores: Sequence[int]) -> None:
        self.gateway = gateway
        port, port2 = free_ports()
        self.words = {
            "port": str(port),
            "port2": str(port2),
            "upstream": upstream.url,
            "upstream_port": str(upstream.port),
            "tmp": str(folder),
            "here": str(gateway.here),
            "bench": str(HERE),
            "python": sys.executable,
        }
        self.folder = folder
        self.cores = cores
        self.process: subprocess.Popen[Any] | None = None
        self.start_s = float("nan")

    def fill(self, text: str) -> str:
        """`{port}` and the like; all other braces stay."""
        for word, value in self.words.items():
            text = text.replace("{" + word + "}", value)
        return text

    def fill_all(self, texts: Sequence[str]) -> list[str]:
        return [self.fill(t) for t in texts]

    def env(self) -> dict[str, str]:
        return {**os.environ, **{k: self.fill(v) for k, v in self.gateway.env.items()}}

    def cwd(self) -> str:
        return self.fill(self.gateway.cwd or "{tmp}")

    def url(self, dialect: str) -> str:
        return self.fill(self.gateway.url) + (self.gateway.paths.get(dialect) or PATHS[dialect])

    def headers(self) -> dict[str, str]:
        own = {k: self.fill(v) for k, v in self.gateway.headers.items()}
        return {"anthropic-version": "2023-06-01", "User-Agent": "claude-cli/2.0.1 (external, cli)", **own}

    def pids(self) -> list[int]:
        return family(self.process.pid) if self.process else []

    def start(self) -> None:
        """Prepares the folder, starts the program, waits for its first good answer."""
        for target, source in self.gateway.files.items():
            (self.folder / target).write_text(self.fill((self.gateway.here / source).read_text()))
        for step in self.gateway.prepare:
            self._prepare(step)
        if not self.gateway.command:
            return
        log = (self.folder / "gateway.log").open("wb")
        began = time.monotonic()
        try:
            self.process = start_pinned(
                self.fill_all(self.gateway.command),
                self.cores,
                cwd=self.cwd(),
                env=self.env(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        except OSError as e:
            raise CannotRun(f"{e}") from e
        if self.gateway.ready_url:
            self._wait_for(began, "GET", self.fill(self.gateway.ready_url), b"")
        self._wait_for(began, "POST", self.url("messages"), request_body(WARM_UP))
        self.start_s = time.monotonic() - began

    def _prepare(self, step: Mapping[str, Any]) -> None:
        done = subprocess.run(
            self.fill_all(step["command"]),
            check=False,
            cwd=self.cwd(),
            env=self.env(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise CannotRun(f"{shlex.join(step['command'])}: {(done.stderr or done.stdout)[-600:]}")
        if "capture" in step:
            match = re.search(step.get("pattern", r"\S+"), done.stdout)
            if not match:
                raise CannotRun(f"{shlex.join(step['command'])}: no {step['capture']} in its output")
            self.words[step["capture"]] = match.group(match.lastindex or 0)

    def _wait_for(self, began: float, method: str, url: str, body: bytes) -> None:
        parts = urllib.parse.urlsplit(url)
        headers = {"Content-Type": "application/json", **self.headers()}
        last, refused_since = "no answer", None
        while time.monotonic() - began < self.gateway.start_timeout:
            assert self.process
            if refused_since and time.monotonic() - refused_since > 10:
                break  # it is up, and will not like this request any better later
            if self.process.poll() is not None:
                raise CannotRun(f"ended with status {self.process.returncode}\n{self.log_end()}")
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
            try:
                connection.request(method, parts.path or "/", body or None, headers)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status == 200:
                    return
                last = f"{answer.status} {text[:300].decode(errors='replace')}"
                refused_since = (refused_since or time.monotonic()) if answer.status < 500 else None
            except OSError as e:
                last = str(e)
            except http.client.HTTPException as e:
                last = repr(e)
            finally:
                connection.close()
            time.sleep(0.01)
        raise CannotRun(f"{method} {url}: {last}\n{self.log_end()}")

    def log_end(self) -> str:
        try:
            return (self.folder / "gateway.log").read_text(errors="replace")[-1500:]
        except OSError:
            return ""

    def count(self, command: Sequence[str]) -> dict[str, int]:
        """What the gateway's own database says, as the count command prints it."""
        words = self.fill_all(command)
        done = subprocess.run(
            words, check=False, cwd=self.cwd(), env=self.env(), capture_output=True, text=True, timeout=120
        )
        if done.returncode:
            raise CannotRun(f"count command: {done.stderr[-600:]}")
        counts: dict[str, int] = json.loads(done.stdout)
        return counts

    def end(self) -> bool:
        return end(self.process) if self.process else True
