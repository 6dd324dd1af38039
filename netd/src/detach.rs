//! Takes a container off its networks.
//!
//! What reaches it is cut at once; its devices go with its namespace, which the kernel takes apart by itself, many at a
//! time. Deleting each device here would hold the kernel's network lock for some 30 ms, and every other task with it.

use skep_proto::ids::TaskId;

use crate::error::NetError;
use crate::kernel::{Kernel, KernelError};
use crate::names::{self, Mac, Ns, network_ns, task_ns};
use crate::publish;
use crate::reconcile::{Acks, Inner, Netd};
use crate::record::{self, Record};
use crate::step::{Forwarding, Step};

impl<K: Kernel> Netd<K> {
    /// Takes a task off its networks and unpins its namespace. A task that is not attached is left so.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn detach(&self, task: TaskId) -> Result<(), NetError> {
        let mut inner = self.inner.lock().await;
        self.take_off(&mut inner, task).await
    }

    pub(crate) async fn take_off(&self, inner: &mut Inner, task: TaskId) -> Result<(), NetError> {
        let failed = |source| NetError::Detach { task, source };
        let ns = task_ns(&task.to_string());
        let cut = match inner.tasks.remove(&task) {
            Some(attached) => self.cut(task, &attached.record).await,
            None => self.clear(task).await,
        };
        cut.map_err(failed)?;
        self.kernel.remove_namespace(&ns).await.map_err(failed)?;
        record::remove(&self.config.records, task)?;
        let current = self.view.borrow().clone();
        if let Some(current) = current {
            self.program_node(inner, &current.view).await?;
            self.published
                .open(&publish::wanted(&current.view, &inner.tasks))
                .await;
            self.remove_unused(inner, &current.view, &mut Acks::default())
                .await;
        }
        Ok(())
    }

    /// Nothing is forwarded to the task any more, whoever still holds its namespace.
    async fn cut(&self, task: TaskId, record: &Record) -> Result<(), KernelError> {
        let port = names::port_of_task(&task.to_string());
        let pinned = self.kernel.namespaces().await?;
        for plug in &record.plugs {
            let ns = network_ns(&plug.network.to_string());
            if !matches!(&ns, Ns::Named(file) if pinned.contains(file)) {
                continue;
            }
            let mac = Mac::of_address(plug.address.addr());
            let entry = Forwarding {
                dev: port.clone(),
                mac,
                remote: None,
            };
            match self
                .kernel
                .run(&ns, vec![Step::DropForwarding(entry)])
                .await
            {
                // The device is gone with a namespace that died before.
                Err(error) if error.source.raw_os_error() != Some(libc::ENODEV) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes what an attachment that was never finished may have left.
    async fn clear(&self, task: TaskId) -> Result<(), KernelError> {
        let text = task.to_string();
        let port = Step::DeleteLink {
            name: names::port_of_task(&text),
        };
        for file in self.kernel.namespaces().await? {
            if names::network_of_ns(&file).is_some() {
                self.kernel
                    .run(&Ns::Named(file), vec![port.clone()])
                    .await?;
            }
        }
        let exit = Step::DeleteLink {
            name: names::way_out_of_task(&text),
        };
        self.kernel.run(&Ns::Host, vec![exit]).await
    }
}
