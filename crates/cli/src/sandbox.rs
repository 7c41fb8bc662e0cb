//! `ccf sandbox`: from nothing to a governed, open service on this machine, in one command.
//!
//! It does what a consortium does, over the same HTTPS requests: nothing here reaches into the node.

pub mod arguments;
pub mod examples;
pub mod interrupt;
mod network;
pub mod node_configuration;
pub mod node_process;
pub mod opening;
mod recovery;
pub mod workspace;

use crate::{
    http_client::{HttpClient, Protocol},
    identity::{Identity, IdentityFiles},
    terminal,
    tls::TlsFiles,
};
use arguments::SandboxArgs;
use ccf_crypto::key::Curve;
use ccf_governance::constitution_texts as texts;
use ccf_js::Bundle;
use examples::Surroundings;
use indicatif::ProgressBar;
use interrupt::Interrupt;
use network::Network;
use node_configuration::{Command, NodeSettings};
use node_process::{NodeProcess, NodeProgram};
use opening::Opening;
use recovery::Earlier;
use serde_json::Value;
use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};
use time::{OffsetDateTime, macros::format_description};
use workspace::Workspace;

/// The application that is deployed when none is named.
const BANK: &str = include_str!("../../../samples/bank/app.json");
const BANK_MODULES: [(&str, &str); 4] = [
    ("accounts.js", include_str!("../../../samples/bank/src/accounts.js")),
    ("answers.js", include_str!("../../../samples/bank/src/answers.js")),
    ("store.js", include_str!("../../../samples/bank/src/store.js")),
    ("transfers.js", include_str!("../../../samples/bank/src/transfers.js")),
];
const BANK_EXAMPLES: &str = include_str!("../../../samples/bank/examples.txt");

/// Certificates of members and users live as long as a certificate usually does.
const IDENTITY_DAYS: u64 = 365;

/// The interface that clients use.
const INTERFACE: &str = "primary_rpc_interface";

/// What is deployed.
struct Application {
    /// For the text on the screen.
    name: String,
    /// The bundle, unless the application is part of the node program.
    bundle: Option<Value>,
    examples: Option<String>,
}

/// Members and users with their files.
struct People {
    members: Vec<Identity>,
    users: Vec<Identity>,
}

/// Runs a sandbox until it is interrupted.
///
/// # Errors
/// A sentence for the user.
pub fn run(args: &SandboxArgs) -> Result<ExitCode, String> {
    let addresses = args.addresses()?;
    let address = addresses.first().ok_or("no address")?;
    let application = application(args)?;
    let constitution = constitution(args)?;
    let program = program(args)?;
    addresses.iter().try_for_each(|address| must_be_free(address))?;
    let interrupt = Interrupt::install().map_err(|e| format!("cannot watch for Ctrl-C: {e}"))?;

    let label = if args.recover { "sandbox_recover" } else { "sandbox" };
    let earlier = args.recover.then(|| Earlier::find(args, label)).transpose()?;
    let workspace = Workspace::create(&args.workspace, label, addresses.len())?;
    announce("Virtual mode enabled");
    if workspace.replaced {
        announce("An earlier sandbox in this workspace was replaced");
    }
    let (common, folder) = (&workspace.common, workspace.nodes.first().ok_or("no node")?);
    let progress = terminal::spinner("Making keys and certificates");
    let people = match &earlier {
        Some(earlier) => earlier.take_over(common, folder)?,
        None => people(args, common)?,
    };
    let settings_files = write_inputs(folder, common, &people, &constitution)?;
    let settings = NodeSettings {
        index: 0,
        rpc_address: address,
        protocol: protocol(args),
        command: if earlier.is_some() { Command::Recover(recovery::PREDECESSOR) } else { Command::Start },
        constitution_files: &settings_files.constitution,
        members: &settings_files.members,
        signature_interval: args.signature_interval,
        validity_days: args.validity_days,
        ledger_chunk_bytes: args.ledger_chunk_bytes,
        snapshot_tx_interval: args.snapshot_tx_interval,
        worker_threads: args.worker_threads,
    };
    progress.suspend(|| announce(&format!("Starting {} CCF node(s)...", addresses.len())));
    progress.set_message("Starting the node");
    let level = if args.verbose { "debug" } else { "info" };
    let mut network = Network { program, level, protocol: protocol(args), nodes: Vec::new() };
    let plan = Plan { settings, addresses: &addresses, workspace: &workspace };
    let brought_up = match &earlier {
        // While only the public state is known, nodes join without votes, and read the private ledger with the first one.
        Some(_) => bring_up(&mut network, &plan, &interrupt, &progress)
            .and_then(|()| recovery::open(&mut network, &workspace, &people, &interrupt, &progress)),
        None => bring_up(&mut network, &plan, &interrupt, &progress)
            .and_then(|()| open(&mut network, &workspace, &people, &application, &interrupt, &progress)),
    };
    progress.finish_and_clear();
    match brought_up {
        Ok(()) => {}
        Err(_) if interrupt.is_set() => return stop(network),
        Err(reason) => {
            let logs: Vec<String> =
                network.nodes.iter().map(|node| node.log_file.display().to_string()).collect();
            return Err(match logs.is_empty() {
                true => reason,
                false => format!("{reason}\nThe logs of the nodes: {}", logs.join(", ")),
            });
        }
    }
    print_ready(args, &workspace, &people, &application, &network)?;
    if args.verbose {
        network.nodes.iter().for_each(|node| follow(node.log_file.clone()));
    }
    serve(args, &mut network, &interrupt)?;
    stop(network)
}

/// What the nodes are started with.
struct Plan<'a> {
    settings: NodeSettings<'a>,
    addresses: &'a [String],
    workspace: &'a Workspace,
}

impl Plan<'_> {
    /// The file with the certificate of the service.
    fn service_certificate(&self) -> PathBuf {
        self.workspace.common.join("service_cert.pem")
    }
}

/// Starts the nodes: the first one begins the service, the others join it, which needs no vote while it is not open.
fn bring_up(
    network: &mut Network,
    plan: &Plan<'_>,
    interrupt: &Interrupt,
    progress: &ProgressBar,
) -> Result<(), String> {
    let certificate_file = plan.service_certificate();
    for (index, (address, folder)) in plan.addresses.iter().zip(&plan.workspace.nodes).enumerate() {
        progress.set_message(format!("Starting node {index}"));
        if index > 0 {
            copy(&certificate_file, &folder.join("service_cert.pem"))?;
        }
        let target = network.nodes.first().map(|node| node.address.clone()).unwrap_or_default();
        let command = if index > 0 { Command::Join(&target) } else { plan.settings.command };
        let settings = NodeSettings { index, rpc_address: address, command, ..plan.settings };
        network.start(folder, &settings, interrupt)?;
        if index == 0 {
            let interrupted = || interrupt.is_set();
            let certificate = network.first()?.wait_for_file("service_cert.pem", interrupted)?;
            write(&certificate_file, &certificate)?;
        }
        network.wait(
            index,
            "the node to take part in the network",
            Some(&certificate_file),
            interrupt,
            |client| {
                let reply = client.get("/node/state").map_err(|e| e.to_string())?;
                match reply.json()["state"].as_str() {
                    Some("PartOfNetwork" | "PartOfPublicNetwork") => Ok(()),
                    _ => Err(reply.refusal()),
                }
            },
        )?;
    }
    Ok(())
}

/// Everything between the start of the processes and an open service.
fn open(
    network: &mut Network,
    workspace: &Workspace,
    people: &People,
    application: &Application,
    interrupt: &Interrupt,
    progress: &ProgressBar,
) -> Result<(), String> {
    let certificate_file = workspace.common.join("service_cert.pem");
    let certificate = fs::read_to_string(&certificate_file).map_err(|e| e.to_string())?;
    let files = TlsFiles { service_certificate: Some(certificate_file.clone()), identity: None };
    let address = network.nodes.first().map(|node| node.address.clone()).unwrap_or_default();
    let mut client = HttpClient::new(&address, &files, network.protocol).map_err(|e| e.to_string())?;
    let mut opening = Opening { client: &mut client, members: &people.members, interrupt };
    progress.set_message("Members acknowledge the service");
    opening
        .activate_members()
        .map_err(|e| network.first().and_then(node_process::NodeProcess::must_run).err().unwrap_or(e))?;
    progress.set_message("Members propose, vote and open the service");
    let users = opening::set_users(&people.users);
    if !users.is_empty() {
        opening.decide("add the users", &users)?;
    }
    if let Some(bundle) = &application.bundle {
        progress.set_message("Members deploy the application");
        opening.decide("deploy the application", &[opening::set_js_app(bundle)])?;
    }
    opening.decide("open the service", &[opening::open_service(&certificate)])?;
    wait_until_open(network, &certificate_file, interrupt)
}

/// Waits until every node serves the application.
fn wait_until_open(
    network: &mut Network,
    certificate_file: &Path,
    interrupt: &Interrupt,
) -> Result<(), String> {
    for index in 0..network.nodes.len() {
        network.wait(index, "the service to open", Some(certificate_file), interrupt, |client| {
            let reply = client.get("/app/commit").map_err(|e| e.to_string())?;
            if reply.status.is_success() { Ok(()) } else { Err(reply.refusal()) }
        })?;
    }
    Ok(())
}

fn application(args: &SandboxArgs) -> Result<Application, String> {
    if let Some(package) = &args.package {
        let name = package.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        return Ok(Application { name, bundle: None, examples: None });
    }
    let Some(folder) = &args.app else {
        let metadata: Value = serde_json::from_str(BANK).map_err(|e| e.to_string())?;
        let module = |(name, text): &(&str, &str)| serde_json::json!({"name": name, "module": text});
        let modules: Vec<Value> = BANK_MODULES.iter().map(module).collect();
        let bundle = serde_json::json!({"metadata": metadata, "modules": modules});
        return Ok(Application {
            name: "samples/bank".to_owned(),
            bundle: Some(bundle),
            examples: Some(BANK_EXAMPLES.to_owned()),
        });
    };
    let bundle = Bundle::read(folder).map_err(|e| e.to_string())?.to_json();
    let examples = fs::read_to_string(folder.join("examples.txt")).ok();
    Ok(Application { name: folder.display().to_string(), bundle: Some(bundle), examples })
}

/// The constitution's files as (name, text), in order.
fn constitution(args: &SandboxArgs) -> Result<Vec<(String, String)>, String> {
    let files: Vec<PathBuf> = match &args.constitution_dir {
        Some(folder) => {
            let names = ["actions.js", "validate.js", "resolve.js", "apply.js"];
            names.iter().map(|name| folder.join(name)).collect()
        }
        None => args.constitution.clone(),
    };
    if files.is_empty() {
        return Ok(texts::SANDBOX
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect());
    }
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).map_err(|e| format!("constitution {}: {e}", path.display()))?;
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok((name, text))
    };
    files.iter().map(read).collect()
}

fn program(args: &SandboxArgs) -> Result<NodeProgram, String> {
    match &args.package {
        Some(package) => {
            let path = package.canonicalize().map_err(|e| format!("--package {}: {e}", package.display()))?;
            Ok(NodeProgram { path, first_words: Vec::new() })
        }
        None => {
            let path = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
            let first_words = ["node", "--stop-with-parent"].map(OsString::from).to_vec();
            Ok(NodeProgram { path, first_words })
        }
    }
}

fn must_be_free(address: &str) -> Result<(), String> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => Err(format!(
            "{address} is in use by another program, perhaps another sandbox. Stop it, or choose another port: \
             --node local://127.0.0.1:8001"
        )),
        Err(e) => Err(format!("cannot listen on {address}: {e}")),
    }
}

fn people(args: &SandboxArgs, common: &Path) -> Result<People, String> {
    let now = OffsetDateTime::now_utc();
    let make = |kind: &str, count: u16, with_encryption_key: bool| -> Result<Vec<Identity>, String> {
        (0..count)
            .map(|index| {
                let name = format!("{kind}{index}");
                let identity =
                    Identity::generate(&name, Curve::P384, with_encryption_key, now, IDENTITY_DAYS)
                        .map_err(|e| e.to_string())?;
                identity.write(common, &name).map_err(|e| e.to_string())?;
                Ok(identity)
            })
            .collect()
    };
    Ok(People { members: make("member", args.members, true)?, users: make("user", args.users, false)? })
}

/// Names of the files beside a node's configuration.
struct InputFiles {
    constitution: Vec<String>,
    members: Vec<(String, Option<String>)>,
}

/// Puts the files that the configuration names into the node's folder.
fn write_inputs(
    folder: &Path,
    common: &Path,
    people: &People,
    constitution: &[(String, String)],
) -> Result<InputFiles, String> {
    let mut members = Vec::new();
    for (index, member) in people.members.iter().enumerate() {
        let names = IdentityFiles::new(Path::new(""), &format!("member{index}"));
        copy(&common.join(&names.certificate), &folder.join(&names.certificate))?;
        let mut encryption_key = None;
        if member.encryption_key.is_some() {
            copy(&common.join(&names.encryption_public_key), &folder.join(&names.encryption_public_key))?;
            encryption_key = Some(names.encryption_public_key.to_string_lossy().into_owned());
        }
        members.push((names.certificate.to_string_lossy().into_owned(), encryption_key));
    }
    let mut names = Vec::new();
    for (index, (name, text)) in constitution.iter().enumerate() {
        // Two files of different folders may have the same name.
        let name = format!("constitution_{index}_{name}");
        write(&folder.join(&name), text)?;
        names.push(name);
    }
    Ok(InputFiles { constitution: names, members })
}

fn print_ready(
    args: &SandboxArgs,
    workspace: &Workspace,
    people: &People,
    application: &Application,
    network: &Network,
) -> Result<(), String> {
    let address = network.nodes.first().map(|node| node.address.as_str()).unwrap_or_default();
    let common = shown(&workspace.common);
    let ids = |list: &[Identity], id: fn(&Identity) -> String| list.iter().map(id).collect::<Vec<String>>();
    let surroundings = Surroundings {
        address,
        common: &common,
        members: &ids(&people.members, |member| member.certificate.member_id().to_string()),
        users: &ids(&people.users, |user| user.certificate.user_id().to_string()),
    };
    announce("Started CCF network with the following nodes:");
    for (index, node) in network.nodes.iter().enumerate() {
        announce(&format!("  Node [{index}] = https://{}", node.address));
    }
    for (index, node) in network.nodes.iter().enumerate() {
        let process = node.process.as_ref().map(NodeProcess::id).unwrap_or_default();
        announce(&format!("  Process of node [{index}]: {process}, log {}", shown(&node.log_file).display()));
    }
    let package = args.package.as_ref().map_or("js_generic", |_| application.name.as_str());
    announce(&format!("You can now issue business transactions to the {package} application"));
    if application.bundle.is_some() {
        announce(&format!("Loaded JS application: {}", application.name));
    }
    announce(&format!("Keys and certificates have been copied to the common folder: {}", common.display()));
    for (kind, list) in [("member", surroundings.members), ("user", surroundings.users)] {
        for (index, id) in list.iter().enumerate() {
            announce(&format!("  {kind}{index}_cert.pem, {kind}{index}_privk.pem   {id}"));
        }
    }
    announce("Try:");
    terminal::say("");
    let mut lines = match (&application.examples, &application.bundle) {
        (Some(text), _) => {
            examples::curl_lines(text, &surroundings).unwrap_or_else(|mistake| vec![format!("# {mistake}")])
        }
        (None, Some(bundle)) => examples::made_up(bundle, &surroundings),
        (None, None) => Vec::new(),
    };
    lines.push("# The service, and what is committed".to_owned());
    lines.push(surroundings.curl("", "GET", "/node/network", None));
    lines.push(surroundings.curl("", "GET", "/app/commit", None));
    for line in lines {
        terminal::say(line);
    }
    terminal::say("");
    announce("Press Ctrl+C to shutdown the network");
    Ok(())
}

/// Waits for the end, and looks after the nodes meanwhile.
fn serve(args: &SandboxArgs, network: &mut Network, interrupt: &Interrupt) -> Result<(), String> {
    let since = Instant::now();
    while !interrupt.is_set() {
        network.look_after()?;
        if args.auto_shutdown && since.elapsed() >= args.auto_shutdown_delay {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn stop(network: Network) -> Result<ExitCode, String> {
    announce("Stopping all CCF nodes...");
    let ledger =
        network.nodes.first().map(|node| node.log_file.with_file_name("0.ledger")).unwrap_or_default();
    network.stop()?;
    announce("All CCF nodes stopped.");
    if ledger.is_dir() {
        announce(&format!(
            "Verify the ledger: {} ledger verify --uncommitted {}",
            in_shell(&this_program()),
            in_shell(&shown(&ledger))
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// This program as a shell finds it from the current folder, on the search path or not.
fn this_program() -> PathBuf {
    let Ok(program) = std::env::current_exe() else { return PathBuf::from("ccf") };
    let program = shown(&program);
    // A name alone would be looked for on the search path.
    if program.components().count() == 1 { Path::new(".").join(program) } else { program }
}

/// A path as one word of a shell command.
fn in_shell(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Prints what the node writes to its log from now on.
fn follow(path: PathBuf) {
    thread::spawn(move || {
        let Ok(file) = fs::File::open(path) else { return };
        let mut reader = BufReader::new(file);
        let mut line = String::new();
        loop {
            match reader.read_line(&mut line) {
                Ok(0) => thread::sleep(Duration::from_millis(100)),
                // A line may arrive in parts.
                Ok(_) if line.ends_with('\n') => {
                    terminal::say(line.trim_end());
                    line.clear();
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    });
}

fn announce(text: &str) {
    let format = format_description!("[hour]:[minute]:[second].[subsecond digits:3]");
    let now = OffsetDateTime::now_utc().format(format).unwrap_or_default();
    terminal::say(format!("[{now}] {text}"));
}

fn protocol(args: &SandboxArgs) -> Protocol {
    if args.http2 { Protocol::Http2 } else { Protocol::Http1 }
}

/// `path` from the current folder, when it lies below it.
fn shown(path: &Path) -> PathBuf {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    here.ok().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path).to_owned()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map(|_| ()).map_err(|e| format!("{}: {e}", to.display()))
}
