//! Runs a real redis-server for a test, on its own port.
//!
//! Used by the tests of this module. It must never leave a server behind, nor touch one that it did not start.

use std::{
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::{Client, aio::MultiplexedConnection};

pub(crate) struct RedisServer {
    port: u16,
    port_option: &'static str,
    file: Option<PathBuf>,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts a server with these arguments besides our own.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut server = Self::absent(arguments);
        server.run();
        server
    }

    /// Starts a server with this file of settings.
    pub(crate) fn start_with_file(file: &Path, arguments: &[&str]) -> Self {
        let mut server = Self::absent(arguments);
        server.file = Some(file.to_path_buf());
        server.run();
        server
    }

    /// A server that does not run yet.
    pub(crate) fn absent(arguments: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.expect("the machine has a free port").port();
        Self {
            port,
            port_option: "--port",
            file: None,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            child: None,
        }
    }

    /// A server that speaks nothing but TLS, with the certificates in `testdata/`, which are good for 127.0.0.1 until
    /// the year 2125.
    pub(crate) fn start_tls() -> Self {
        let file = |name| format!("{}/src/channel/redis/testdata/{name}.pem", env!("CARGO_MANIFEST_DIR"));
        let [ca, certificate, key] = ["ca", "certificate", "key"].map(file);
        let certificates =
            ["--tls-ca-cert-file", &ca, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let mut server = Self::absent(&[&certificates[..], &["--port", "0"]].concat());
        server.port_option = "--tls-port";
        server.run();
        server
    }

    /// Starts it, again or for the first time, and waits until it accepts connections.
    pub(crate) fn run(&mut self) {
        let mut child = Command::new(binary())
            .args(&self.file)
            .args([
                self.port_option,
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert_eq!(child.try_wait().expect("a child can be asked"), None, "redis-server ended at once");
            assert!(begin.elapsed() < Duration::from_secs(10), "redis-server did not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child = Some(child);
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("our own child can be waited for");
        }
    }

    /// Freezes it: its sockets stay open and accept connections, but nothing answers.
    #[cfg(unix)]
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    #[cfg(unix)]
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    #[cfg(unix)]
    fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("it runs");
        let status = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(status.expect("there is a kill command").success());
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection of the test's own, past what is tested.
    pub(crate) async fn admin(&self) -> MultiplexedConnection {
        let client = Client::open(self.url()).expect("our own URL is good");
        client.get_multiplexed_async_connection().await.expect("our own server answers")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `$CONFLUX_REDIS_SERVER`, or the first `redis-server` on the path.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CONFLUX_REDIS_SERVER") {
        return path.into();
    }
    let name = format!("redis-server{}", std::env::consts::EXE_SUFFIX);
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(&name))
        .find(|path| path.is_file())
        .expect("these tests need a redis-server: install one, or name it in CONFLUX_REDIS_SERVER")
}
