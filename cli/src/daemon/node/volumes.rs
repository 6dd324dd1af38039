//! Volumes of this node: they are there without a cluster, and managers are told of them.

use skep_worker::volumes::Volumes;

use super::{Node, Phase};

impl Node {
    /// This node's volumes.
    pub fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    /// Tells managers which volumes are here now.
    pub async fn volumes_changed(&self) {
        let volumes = self.volumes.clone();
        let names = tokio::task::spawn_blocking(move || volumes.names()).await;
        let Ok(Ok(names)) = names else {
            tracing::warn!("the volumes of this node cannot be listed");
            return;
        };
        if let Phase::Active(active) = &*self.phase.lock().await {
            active.worker.volumes_changed(names);
        }
    }
}
