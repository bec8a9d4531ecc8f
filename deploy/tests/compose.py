"""Checks docker-compose.yml: what must hold of every container, volume and network.

    compose.py FILE

Prints every finding and exits with 1 if there is any.
"""

import pathlib
import re
import sys

import yaml

SECRET_WORDS = re.compile(r"(?i)secret|token|passw|credential|private|seed|api_?key")
BUS = "nats"
# The init job makes all identities, and has no network to send them anywhere.
MAKER = "init"
OFFLINE = {MAKER, "auditor"}
# It serves nothing that could be asked.
SILENT = {"sample-strategy"}
# Which identities a container may mount beside the one that is named like it.
IDENTITIES = {
    "provision": {"provisioner"},
    "sample-strategy": {"strategy-sample"},
    "cli": {"operator-dev", "operator-second", "strategy-trader"},
    "auditor": {"audit", "operator-dev"},
    "paper-exchange": set(),
    "nats": set(),
}
# Who shares a network with whom, the bus aside.
NETWORKS = {
    "operators": {"provision", "cli"},
    "strategies": {"sample-strategy"},
    "decision": {"brain", "risk-guard"},
    "trading": {"execution", "market-data"},
    "signing": {"signer"},
    "record": {"audit"},
    "venue": {"execution", "market-data", "paper-exchange"},
}


def check(stack):
    findings = []
    services = stack["services"]
    for name, service in services.items():
        findings += [f"{name}: {problem}" for problem in check_service(name, service)]
    for network, definition in stack["networks"].items():
        if definition != {"internal": True}:
            findings.append(f"network {network}: it leads out")
    seen = {
        network: {n for n, s in services.items() if network in s.get("networks", [])}
        for network in stack["networks"]
    }
    for network in sorted(set(seen) | set(NETWORKS)):
        wanted = NETWORKS.get(network, set()) | ({BUS} if network != "venue" else set())
        if seen.get(network) != wanted:
            findings.append(f"network {network}: is of {sorted(seen.get(network, []))}")
    if "secrets" in stack:
        findings.append("secrets: they are volumes that the init job fills, nothing on the host")
    return findings


def check_service(name, service):
    wanted = {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "user": "65532:65532",
    }
    for key, value in wanted.items():
        if service.get(key) != value:
            yield f"{key} must be {value}"
    for key in ("pids_limit", "mem_limit", "logging", "tmpfs"):
        if not service.get(key):
            yield f"{key} is missing"
    if "max-size" not in service.get("logging", {}).get("options", {}):
        yield "its log has no bound"
    for key in ("ports", "privileged", "cap_add", "devices", "env_file", "pid", "ipc", "extra_hosts"):
        if key in service:
            yield f"{key} breaks the wall to others"
    for variable in service.get("environment", {}):
        if SECRET_WORDS.search(variable):
            yield f"{variable} is a secret in the environment"
    if name in OFFLINE:
        if service.get("network_mode") != "none" or "networks" in service:
            yield "it needs no network"
    elif "network_mode" in service or not service.get("networks"):
        yield "it must name its networks"
    command = " ".join(map(str, service.get("command", [])))
    if "--admin" in command:
        yield "the exchange's admin port is open"
    runs_on = service.get("restart") == "unless-stopped"
    if runs_on and name not in SILENT and not service.get("healthcheck"):
        yield "nobody asks for its health"
    if runs_on and not service.get("stop_grace_period"):
        yield "it is killed when it should stop"
    if name != MAKER:
        yield from check_volumes(name, service)


def check_volumes(name, service):
    own = IDENTITIES.get(name, {name})
    for volume in service.get("volumes", []):
        source, _, rest = volume.partition(":")
        target, _, mode = rest.partition(":")
        if not re.fullmatch(r"[a-z-]+", source):
            yield f"{source} is of the host"
        if source == "authority":
            yield "the authority's keys are for the init job alone"
        if source.startswith("identity-"):
            if source.removeprefix("identity-") not in own:
                yield f"{source} is somebody else's"
            if mode != "ro":
                yield f"{source} is writable"
            if target != f"/portcullis/identity/{source.removeprefix('identity-')}":
                yield f"{source} is not where it is looked for"
        if source == "bus-log" and name != BUS and (name != "audit" or mode != "ro"):
            yield "bus-log is the bus's to write and audit's to read"
        if source == "bus" and name != BUS or source == "exchange" and name != "paper-exchange":
            yield f"{source} is somebody else's"


def main():
    stack = yaml.safe_load(pathlib.Path(sys.argv[1]).read_text())
    findings = check(stack)
    for finding in findings:
        print(finding)
    print(f"{len(stack['services'])} services, {len(findings)} findings")
    return 1 if findings or not stack["services"] else 0


if __name__ == "__main__":
    sys.exit(main())
