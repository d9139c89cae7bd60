//! A worker's process, as its driver sees it.

use std::{
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// How workers are started.
#[derive(Debug, Clone)]
pub struct Program {
    /// The worker's program.
    pub path: PathBuf,
    /// The file with the [`super::workplace::Workplace`].
    pub workplace: PathBuf,
}

/// A running worker. Dropping it kills it.
pub struct Process {
    /// Its name: no other worker of the run has or had it.
    pub name: String,
    child: Child,
    /// Closing it asks the worker to end; so does the driver's death.
    input: Option<ChildStdin>,
}

impl Process {
    /// Starts a worker.
    pub fn start(program: &Program, name: String, seed: u64) -> Self {
        let mut child = command(&program.path, &program.workplace, &name, seed)
            .spawn()
            .expect("the worker starts");
        Self {
            name,
            input: child.stdin.take(),
            child,
        }
    }

    /// Kills it, and returns when it is gone.
    pub fn kill(mut self) {
        self.send(Signal::KILL);
        self.child.wait().expect("ours");
    }

    /// Stops it where it is, and returns when all its threads stand still.
    pub fn freeze(&self) {
        self.send(Signal::STOP);
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.pid()), stopped).expect("ours");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.send(Signal::CONT);
    }

    /// Asks it to end, and waits for that. Returns whether it ended well.
    pub fn end(mut self) -> bool {
        drop(self.input.take());
        self.child.wait().expect("ours").success()
    }

    /// Whether it ended by itself: it should not.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("ours").is_some()
    }

    fn send(&self, signal: Signal) {
        // Not reaped yet, so the id is still its own.
        kill_process(self.pid(), signal).expect("ours");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A frozen process would not notice its driver's end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(program: &Path, workplace: &Path, name: &str, seed: u64) -> Command {
    let mut command = Command::new(program);
    command
        .arg(workplace)
        .args([name, &seed.to_string()])
        .stdin(Stdio::piped());
    command
}
