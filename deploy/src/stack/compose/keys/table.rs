//! The keys by the map that holds them. Pure.

use super::Below::{Listed, Map, Named, Value};
use super::Shape;

/// A whole file.
pub const FILE: Shape = Shape {
    applies: &[
        ("version", Value),
        ("name", Value),
        ("include", Listed(&INCLUDE)),
        ("services", Named(&SERVICE)),
        ("networks", Named(&NETWORK)),
        ("volumes", Named(&VOLUME)),
        ("secrets", Named(&FILED)),
        ("configs", Named(&FILED)),
    ],
    ignored: &["models"],
};

const INCLUDE: Shape = Shape {
    applies: &[
        ("path", Value),
        ("project_directory", Value),
        ("env_file", Value),
    ],
    ignored: &[],
};

const SERVICE: Shape = Shape {
    applies: &[
        ("cap_add", Value),
        ("cap_drop", Value),
        ("command", Value),
        ("configs", Listed(&FILE_USE)),
        ("cpus", Value),
        ("depends_on", Named(&DEPENDENCY)),
        ("deploy", Map(&DEPLOY)),
        ("devices", Listed(&DEVICE)),
        ("dns", Value),
        ("dns_opt", Value),
        ("dns_search", Value),
        ("entrypoint", Value),
        ("env_file", Listed(&ENV_FILE)),
        ("environment", Value),
        ("extends", Map(&EXTENDS)),
        ("extra_hosts", Value),
        ("group_add", Value),
        ("healthcheck", Map(&HEALTHCHECK)),
        ("hostname", Value),
        ("image", Value),
        ("init", Value),
        ("labels", Value),
        ("logging", Map(&LOGGING)),
        ("mem_limit", Value),
        ("mem_reservation", Value),
        ("networks", Named(&NETWORK_USE)),
        ("oom_score_adj", Value),
        ("pids_limit", Value),
        ("platform", Value),
        ("ports", Listed(&PORT)),
        ("privileged", Value),
        ("profiles", Value),
        ("pull_policy", Value),
        ("read_only", Value),
        ("restart", Value),
        ("scale", Value),
        ("secrets", Listed(&FILE_USE)),
        ("security_opt", Value),
        ("shm_size", Value),
        ("stop_grace_period", Value),
        ("stop_signal", Value),
        ("sysctls", Value),
        ("tmpfs", Value),
        ("tty", Value),
        ("ulimits", Named(&ULIMIT)),
        ("user", Value),
        ("volumes", Listed(&MOUNT)),
        ("working_dir", Value),
    ],
    ignored: &[
        "annotations",
        "attach",
        "blkio_config",
        "build",
        "cgroup",
        "cgroup_parent",
        "cgroupns_mode",
        "container_name",
        "cpu_count",
        "cpu_percent",
        "cpu_period",
        "cpu_quota",
        "cpu_rt_period",
        "cpu_rt_runtime",
        "cpu_shares",
        "cpuset",
        "credential_spec",
        "develop",
        "device_cgroup_rules",
        "domainname",
        "expose",
        "external_links",
        "gpus",
        "ipc",
        "isolation",
        "label_file",
        "links",
        "mac_address",
        "mem_swappiness",
        "memswap_limit",
        "models",
        "network_mode",
        "oom_kill_disable",
        "pid",
        "post_start",
        "pre_stop",
        "provider",
        "runtime",
        "stdin_open",
        "storage_opt",
        "use_api_socket",
        "userns_mode",
        "uts",
        "volumes_from",
    ],
};

const DEPENDENCY: Shape = Shape {
    applies: &[("condition", Value), ("required", Value)],
    ignored: &["restart"],
};

const EXTENDS: Shape = Shape {
    applies: &[("service", Value), ("file", Value)],
    ignored: &[],
};

const ENV_FILE: Shape = Shape {
    applies: &[("path", Value), ("required", Value), ("format", Value)],
    ignored: &[],
};

const FILE_USE: Shape = Shape {
    applies: &[
        ("source", Value),
        ("target", Value),
        ("uid", Value),
        ("gid", Value),
        ("mode", Value),
    ],
    ignored: &[],
};

const DEVICE: Shape = Shape {
    applies: &[("source", Value), ("target", Value), ("permissions", Value)],
    ignored: &[],
};

const HEALTHCHECK: Shape = Shape {
    applies: &[
        ("test", Value),
        ("interval", Value),
        ("timeout", Value),
        ("retries", Value),
        ("start_period", Value),
        ("start_interval", Value),
        ("disable", Value),
    ],
    ignored: &[],
};

const LOGGING: Shape = Shape {
    applies: &[("driver", Value), ("options", Value)],
    ignored: &[],
};

const NETWORK_USE: Shape = Shape {
    applies: &[("aliases", Value), ("priority", Value)],
    ignored: &[
        "driver_opts",
        "gw_priority",
        "interface_name",
        "ipv4_address",
        "ipv6_address",
        "link_local_ips",
        "mac_address",
    ],
};

const PORT: Shape = Shape {
    applies: &[
        ("target", Value),
        ("published", Value),
        ("protocol", Value),
        ("mode", Value),
        ("host_ip", Value),
    ],
    ignored: &["name", "app_protocol"],
};

const ULIMIT: Shape = Shape {
    applies: &[("soft", Value), ("hard", Value)],
    ignored: &[],
};

const MOUNT: Shape = Shape {
    applies: &[
        ("type", Value),
        ("source", Value),
        ("target", Value),
        ("read_only", Value),
        ("bind", Map(&MOUNT_BIND)),
        ("volume", Map(&MOUNT_VOLUME)),
        ("tmpfs", Map(&MOUNT_TMPFS)),
    ],
    ignored: &["consistency", "image"],
};

const MOUNT_BIND: Shape = Shape {
    applies: &[("propagation", Value), ("recursive", Value)],
    ignored: &["create_host_path", "selinux"],
};

const MOUNT_VOLUME: Shape = Shape {
    applies: &[("nocopy", Value), ("subpath", Value), ("labels", Value)],
    ignored: &[],
};

const MOUNT_TMPFS: Shape = Shape {
    applies: &[("size", Value), ("mode", Value)],
    ignored: &[],
};

const DEPLOY: Shape = Shape {
    applies: &[
        ("mode", Value),
        ("replicas", Value),
        ("endpoint_mode", Value),
        ("labels", Value),
        ("update_config", Map(&UPDATE)),
        ("rollback_config", Map(&UPDATE)),
        ("resources", Map(&RESOURCES)),
        ("restart_policy", Map(&RESTART)),
        ("placement", Map(&PLACEMENT)),
    ],
    ignored: &[],
};

const UPDATE: Shape = Shape {
    applies: &[
        ("parallelism", Value),
        ("delay", Value),
        ("failure_action", Value),
        ("monitor", Value),
        ("max_failure_ratio", Value),
        ("order", Value),
    ],
    ignored: &[],
};

const RESOURCES: Shape = Shape {
    applies: &[("limits", Map(&LIMITS)), ("reservations", Map(&RESERVED))],
    ignored: &[],
};

const LIMITS: Shape = Shape {
    applies: &[("cpus", Value), ("memory", Value), ("pids", Value)],
    ignored: &["devices"],
};

const RESERVED: Shape = Shape {
    applies: &[
        ("cpus", Value),
        ("memory", Value),
        ("generic_resources", Listed(&GENERIC)),
    ],
    ignored: &["devices", "pids"],
};

const GENERIC: Shape = Shape {
    applies: &[("discrete_resource_spec", Map(&DISCRETE))],
    ignored: &[],
};

const DISCRETE: Shape = Shape {
    applies: &[("kind", Value), ("value", Value)],
    ignored: &[],
};

const RESTART: Shape = Shape {
    applies: &[
        ("condition", Value),
        ("delay", Value),
        ("max_attempts", Value),
        ("window", Value),
    ],
    ignored: &[],
};

const PLACEMENT: Shape = Shape {
    applies: &[
        ("constraints", Value),
        ("preferences", Listed(&PREFERENCE)),
        ("max_replicas_per_node", Value),
    ],
    ignored: &[],
};

const PREFERENCE: Shape = Shape {
    applies: &[("spread", Value)],
    ignored: &[],
};

const NETWORK: Shape = Shape {
    applies: &[
        ("name", Value),
        ("external", Map(&EXTERNAL)),
        ("driver", Value),
        ("driver_opts", Value),
        ("attachable", Value),
        ("internal", Value),
        ("ipam", Map(&IPAM)),
        ("labels", Value),
    ],
    ignored: &["enable_ipv4", "enable_ipv6"],
};

/// `external: {name: …}`, as files before 3.4 had it.
const EXTERNAL: Shape = Shape {
    applies: &[("name", Value)],
    ignored: &[],
};

const IPAM: Shape = Shape {
    applies: &[("driver", Value), ("config", Listed(&IPAM_CONFIG))],
    ignored: &["options"],
};

const IPAM_CONFIG: Shape = Shape {
    applies: &[("subnet", Value), ("gateway", Value)],
    ignored: &["ip_range", "aux_addresses"],
};

const VOLUME: Shape = Shape {
    applies: &[
        ("name", Value),
        ("external", Map(&EXTERNAL)),
        ("driver", Value),
        ("driver_opts", Value),
        ("labels", Value),
    ],
    ignored: &[],
};

/// A secret or config.
const FILED: Shape = Shape {
    applies: &[
        ("name", Value),
        ("external", Map(&EXTERNAL)),
        ("file", Value),
        ("environment", Value),
        ("content", Value),
        ("labels", Value),
    ],
    ignored: &["driver", "driver_opts", "template_driver"],
};
