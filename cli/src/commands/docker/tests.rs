use std::collections::BTreeMap;

use skep_proto::ids::{NetworkId, ServiceId};
use skep_proto::spec::{ContainerSpec, Mode, ServiceSpec, TaskSpec};

use super::*;
use crate::output::template::Template;
use skep_proto::wire::{WireId, v1};

fn entry() -> v1::ServiceEntry {
    let mut container = ContainerSpec::new("nginx:1.25");
    container.args = vec!["-g".into(), "daemon off;".into()];
    let spec = ServiceSpec {
        mode: Mode::Replicated { replicas: 3 },
        labels: BTreeMap::from([("tier".to_owned(), "front".to_owned())]),
        ..ServiceSpec::new("web", TaskSpec::new(container))
    };
    let service = v1::Service {
        id: ServiceId::new(7).to_bytes(),
        spec: Some(v1::ServiceSpec::from(&spec)),
        vips: vec![v1::NetworkAddress {
            network: NetworkId::new(9).to_bytes(),
            address: vec![10, 0, 0, 2],
        }],
        ..Default::default()
    };
    v1::ServiceEntry {
        service: Some(service),
        running: 2,
        desired: 3,
        completed: None,
    }
}

#[test]
fn docker_users_paths_lead_to_what_they_know() {
    let shown = service(&entry()).expect("a service");
    for (template, expected) in [
        ("{{.Spec.Name}}", "web"),
        ("{{.Spec.TaskTemplate.ContainerSpec.Image}}", "nginx:1.25"),
        ("{{.Spec.Mode.Replicated.Replicas}}", "3"),
        (
            "{{join .Spec.TaskTemplate.ContainerSpec.Args \" \"}}",
            "-g daemon off;",
        ),
        ("{{index .Spec.Labels \"tier\"}}", "front"),
        (
            "{{.Spec.UpdateConfig.Monitor}} {{.Spec.UpdateConfig.Order}}",
            "5000000000 stop-first",
        ),
        ("{{range .Endpoint.VirtualIPs}}{{.Addr}}{{end}}", "10.0.0.2"),
        (
            "{{.ServiceStatus.RunningTasks}}/{{.ServiceStatus.DesiredTasks}}",
            "2/3",
        ),
        ("{{.CreatedAt}}", "1970-01-01T00:00:00Z"),
    ] {
        let made = Template::read(template).and_then(|template| template.run(&shown));
        assert_eq!(made.as_deref(), Ok(expected), "{template}");
    }
}
