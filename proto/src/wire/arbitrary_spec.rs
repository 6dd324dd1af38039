//! Draws what a user asks for.

use rand::RngExt;

use super::super::WireId;
use super::Draw;
use crate::constraint::{Constraint, Key, Operator};
use crate::image::ImageRef;
use crate::resources::Limits;
use crate::spec::{
    ContainerSpec, Device, DnsConfig, EndpointMode, FailureAction, FileUse, HealthCheck,
    HealthTest, LogDriver, Mode, Mount, MountSource, NetworkUse, Platform, PortSpec, Privileges,
    Propagation, PullPolicy, RestartCondition, RestartPolicy, Seccomp, ServiceSpec, TaskSpec,
    Ulimit, UpdateConfig, UpdateOrder, VolumeUse,
};

impl Draw {
    fn key(&mut self) -> Key {
        let label = self.text();
        match self.0.random_range(0..8) {
            0 => Key::Id,
            1 => Key::Hostname,
            2 => Key::Ip,
            3 => Key::Role,
            4 => Key::Os,
            5 => Key::Arch,
            6 => Key::Label(label),
            _ => Key::EngineLabel(label),
        }
    }

    fn demand(&mut self) -> Constraint {
        let operators = [
            Operator::Equal,
            Operator::NotEqual,
            Operator::In,
            Operator::Exists,
            Operator::Less,
            Operator::Greater,
        ];
        Constraint {
            key: self.key(),
            operator: self.pick(&operators),
            value: self.text(),
            or: Vec::new(),
        }
    }

    fn constraint(&mut self) -> Constraint {
        Constraint {
            or: self.list(Self::demand),
            ..self.demand()
        }
    }

    fn file<I: WireId>(&mut self) -> FileUse<I> {
        FileUse {
            id: self.id(),
            name: self.text(),
            target: self.text(),
            uid: self.0.random(),
            gid: self.0.random(),
            mode: self.0.random(),
            revision: self.option(|draw| draw.0.random()),
        }
    }

    fn health(&mut self) -> HealthCheck {
        HealthCheck {
            test: self.option(|draw| match draw.0.random_range(0..3) {
                0 => HealthTest::None,
                1 => HealthTest::Command(draw.list(Self::text)),
                _ => HealthTest::Shell(draw.text()),
            }),
            interval: self.option(Self::duration),
            timeout: self.option(Self::duration),
            retries: self.option(|draw| draw.0.random()),
            start_period: self.option(Self::duration),
            start_interval: self.option(Self::duration),
        }
    }

    fn mount(&mut self) -> Mount {
        let propagations = [
            Propagation::Private,
            Propagation::Rprivate,
            Propagation::Shared,
            Propagation::Rshared,
            Propagation::Slave,
            Propagation::Rslave,
        ];
        let source = match self.0.random_range(0..3) {
            0 => MountSource::Bind {
                path: self.text(),
                propagation: self.pick(&propagations),
                recursive: self.0.random(),
            },
            1 => MountSource::Volume(VolumeUse {
                name: self.option(Self::text),
                no_copy: self.0.random(),
                subpath: self.option(Self::text),
                sticky: self.0.random(),
                driver: self.option(Self::text),
                options: self.map(),
                labels: self.map(),
            }),
            _ => MountSource::Tmpfs {
                size: self.option(|draw| draw.0.random()),
                mode: self.0.random(),
            },
        };
        Mount {
            source,
            target: self.text(),
            read_only: self.0.random(),
        }
    }

    fn privileges(&mut self) -> Privileges {
        Privileges {
            cap_add: self.list(Self::text),
            cap_drop: self.list(Self::text),
            privileged: self.0.random(),
            no_new_privileges: self.0.random(),
            seccomp: self.pick(&[Seccomp::Docker, Seccomp::Unconfined]),
            devices: self.list(|draw| Device {
                source: draw.text(),
                target: draw.text(),
                permissions: draw.text(),
            }),
        }
    }

    fn container(&mut self) -> ContainerSpec {
        ContainerSpec {
            image: ImageRef {
                name: self.text(),
                digest: self.option(Self::digest),
            },
            pull: self.pick(&[PullPolicy::Missing, PullPolicy::Always, PullPolicy::Never]),
            entrypoint: self.list(Self::text),
            args: self.list(Self::text),
            env: self.list(Self::text),
            labels: self.map(),
            hostname: self.option(Self::text),
            user: self.option(Self::text),
            groups: self.list(Self::text),
            workdir: self.option(Self::text),
            tty: self.0.random(),
            read_only: self.0.random(),
            init: self.0.random(),
            stop_signal: self.option(|draw| draw.0.random()),
            stop_grace: self.duration(),
            health: self.option(Self::health),
            mounts: self.list(Self::mount),
            secrets: self.list(Self::file),
            configs: self.list(Self::file),
            hosts: self.list(|draw| (draw.text(), draw.ip())),
            dns: DnsConfig {
                servers: self.list(Self::ip),
                search: self.list(Self::text),
                options: self.list(Self::text),
            },
            privileges: self.privileges(),
            sysctls: self.map(),
            ulimits: self.list(|draw| Ulimit {
                name: draw.text(),
                soft: draw.0.random(),
                hard: draw.0.random(),
            }),
            oom_score_adj: self.0.random(),
            shm_size: self.option(|draw| draw.0.random()),
        }
    }

    pub(super) fn task_spec(&mut self) -> TaskSpec {
        TaskSpec {
            container: self.container(),
            limits: Limits {
                nano_cpus: self.option(|draw| draw.0.random()),
                memory: self.option(|draw| draw.0.random()),
                pids: self.option(|draw| draw.0.random()),
            },
            reservations: self.resources(),
            restart: RestartPolicy {
                condition: self.pick(&[
                    RestartCondition::None,
                    RestartCondition::OnFailure,
                    RestartCondition::Any,
                ]),
                delay: self.duration(),
                max_attempts: self.option(|draw| draw.0.random()),
                window: self.duration(),
            },
            constraints: self.list(Self::constraint),
            networks: self.list(|draw| NetworkUse {
                network: draw.id(),
                aliases: draw.list(Self::text),
            }),
            spread: self.list(Self::key),
            max_per_node: self.option(|draw| draw.0.random()),
            platforms: self.list(|draw| Platform {
                os: draw.text(),
                arch: draw.text(),
            }),
            generic: self
                .list(|draw| (draw.text(), draw.0.random()))
                .into_iter()
                .collect(),
            log: self.option(|draw| LogDriver {
                name: draw.text(),
                options: draw.map(),
            }),
            force: self.0.random(),
        }
    }

    fn mode(&mut self) -> Mode {
        match self.0.random_range(0..4) {
            0 => Mode::Replicated {
                replicas: self.0.random(),
            },
            1 => Mode::Global,
            2 => Mode::ReplicatedJob {
                total: self.0.random(),
                max_concurrent: self.0.random(),
            },
            _ => Mode::GlobalJob,
        }
    }

    pub(super) fn update_config(&mut self) -> UpdateConfig {
        UpdateConfig {
            parallelism: self.0.random(),
            delay: self.duration(),
            failure_action: self.pick(&[
                FailureAction::Pause,
                FailureAction::Continue,
                FailureAction::Rollback,
            ]),
            monitor: self.duration(),
            max_failure_millionths: self.0.random(),
            order: self.pick(&[UpdateOrder::StopFirst, UpdateOrder::StartFirst]),
            progress_deadline: self.option(Self::duration),
        }
    }

    pub(super) fn service_spec(&mut self) -> ServiceSpec {
        ServiceSpec {
            name: self.text(),
            labels: self.map(),
            mode: self.mode(),
            task: self.task_spec(),
            ports: self.list(|draw| PortSpec {
                protocol: draw.protocol(),
                target: draw.0.random(),
                published: draw.option(|draw| draw.0.random()),
                mode: draw.publish_mode(),
            }),
            endpoint: self.pick(&[EndpointMode::Vip, EndpointMode::Dnsrr]),
            update: self.update_config(),
            rollback: self.update_config(),
            lost_after: self.option(Self::duration),
        }
    }
}
