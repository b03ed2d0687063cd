//! `erlmcp deploy render`.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, Subcommand, ValueEnum};
use erlmcp_config::load;
use erlmcp_deploy::{kubernetes, systemd};

use super::{ConfigArgs, Outcome, print};

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum DeployCommand {
    /// Print a systemd unit or a Kubernetes manifest made from the configuration.
    Render(RenderArgs),
}

/// What to render.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  erlmcp deploy render systemd --config /etc/erlmcp > /etc/systemd/system/erlmcp.service\n  erlmcp deploy render kubernetes --config config/cluster --image registry.example/erlmcp:0.1 | kubectl apply -f -"
)]
pub(super) struct RenderArgs {
    /// For what.
    target: Target,
    #[command(flatten)]
    config: ConfigArgs,
    /// systemd: the binary.
    #[arg(long, default_value = "/usr/local/bin/erlmcp")]
    binary: PathBuf,
    /// Kubernetes: name of the Deployment.
    #[arg(long, default_value = "erlmcp")]
    name: String,
    /// Kubernetes: container image.
    #[arg(long, default_value = "erlmcp:latest")]
    image: String,
    /// Kubernetes: ConfigMap with the configuration's files.
    #[arg(long, default_value = "erlmcp-config")]
    config_map: String,
    /// Kubernetes: Secret with the environment for `${VAR}`.
    #[arg(long)]
    secret: Option<String>,
    /// Kubernetes: pods.
    #[arg(long, default_value_t = 1)]
    replicas: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Target {
    /// A unit file.
    Systemd,
    /// A Deployment.
    Kubernetes,
}

pub(super) fn run(command: &DeployCommand) -> Outcome {
    let DeployCommand::Render(args) = command;
    let config = load(&args.config.source())
        .map_err(|report| anyhow!("the configuration is refused\n{report}"))?
        .config;
    let text = match args.target {
        Target::Systemd => {
            let folder = args.config.config.clone().unwrap_or_else(|| "/etc/erlmcp".into());
            systemd::unit(&config, &args.binary, &folder)?
        }
        Target::Kubernetes => {
            let spec = kubernetes::Spec {
                name: args.name.clone(),
                image: args.image.clone(),
                config_map: args.config_map.clone(),
                secret: args.secret.clone(),
                replicas: args.replicas,
            };
            kubernetes::deployment(&config, &spec)
        }
    };
    print(&text).map(|()| true)
}
