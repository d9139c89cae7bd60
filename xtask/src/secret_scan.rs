//! A search for every secret in all that a test run wrote: nothing may be found but where secrets belong.
//!
//! The fake adds each secret that it issues to a register (`FAKE_PROCORE_SECRETS`); the tests leave what the tool's processes said,
//! and their homes with journals, alerts and logs, in a folder (`PROCORE_AUTH_TEST_RECORD`); what the test programs themselves
//! said is beside it. Not searched: stores that tests keep in folders of their own, and what the example hosts write there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Where everything is left, as the workspace's root sees it.
const FOLDER: &str = "target/test-record";
/// The file with all secrets.
const REGISTER: &str = "secrets";
/// What is shorter is found by accident. The fake issues nothing shorter; tests name codes of their own.
const SHORTEST: usize = 16;

/// Where secrets belong, and why.
const BELONGS: [(Place, &str); 7] = [
    (Place::Store, "the store"),
    (
        Place::Extension("secret"),
        "a file that holds the client secret",
    ),
    (
        Place::Folder(".credentials"),
        "what a script had saved before",
    ),
    (
        Place::Folder("scripts"),
        "the access token that `export` keeps for scripts",
    ),
    (
        Place::Folder("stand_in"),
        "what a document's example is given in a client's place",
    ),
    (
        Place::Named("exported.json"),
        "the access token that `export` writes for another program",
    ),
    (Place::File(REGISTER), "the register itself"),
];

enum Place {
    /// A connection's entries: `state/NAME/…`, or `elsewhere/NAME/…` where a test moves the folder. The journal and the alerts lie
    /// beside them.
    Store,
    Extension(&'static str),
    Folder(&'static str),
    Named(&'static str),
    /// The one file at the top.
    File(&'static str),
}

impl Place {
    fn holds(&self, path: &Path) -> bool {
        let parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).collect();
        match self {
            Self::Store => parts
                .windows(3)
                .any(|it| ["state", "elsewhere"].contains(&it[0]) && !it[1].starts_with('.')),
            Self::Extension(extension) => path.extension().is_some_and(|it| it == *extension),
            Self::Folder(name) => parts.iter().rev().skip(1).any(|part| part == name),
            Self::Named(name) => path.ends_with(name),
            Self::File(name) => parts == [*name],
        }
    }
}

/// What one test run leaves.
pub(crate) struct Record(PathBuf);

impl Record {
    /// Makes an empty folder for it.
    pub(crate) fn begin(root: &Path) -> anyhow::Result<Self> {
        let folder = root.join(FOLDER);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self(folder))
    }

    /// The environment variables that have the tests leave what they do.
    pub(crate) fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("PROCORE_AUTH_TEST_RECORD", self.0.clone()),
            ("FAKE_PROCORE_SECRETS", self.0.join(REGISTER)),
        ]
    }

    /// Where the output of the tests goes.
    pub(crate) fn output(&self) -> PathBuf {
        self.0.join("output")
    }

    /// Fails where a secret stands where none belongs. Names the file and the place, and not the secret.
    pub(crate) fn search(&self) -> anyhow::Result<()> {
        let Ok(register) = fs::read_to_string(self.0.join(REGISTER)) else {
            eprintln!("No secret was issued: nothing to search for.");
            return Ok(());
        };
        let secrets: BTreeSet<_> = register.lines().filter(|it| it.len() >= SHORTEST).collect();
        let needles: BTreeSet<_> = secrets
            .iter()
            .flat_map(|secret| spellings(secret))
            .collect();
        let search = AhoCorasick::new(&needles)?;
        let (mut files, mut bytes, mut found) = (0_usize, 0_usize, Vec::new());
        walk(&self.0, &mut |file| {
            let name = file.strip_prefix(&self.0).unwrap_or(file);
            if BELONGS.iter().any(|(place, _)| place.holds(name)) {
                return Ok(());
            }
            let content = fs::read(file).with_context(|| file.display().to_string())?;
            files += 1;
            bytes += content.len();
            let hit = search.find(&content);
            found.extend(hit.map(|hit| format!("{} at byte {}", name.display(), hit.start())));
            Ok(())
        })?;
        if !found.is_empty() {
            bail!(
                "secrets stand where none belongs, in {FOLDER}:\n{}",
                found.join("\n")
            );
        }
        eprintln!(
            "Searched {files} files, {} KiB, for {} secrets: nothing.",
            bytes / 1024,
            secrets.len()
        );
        Ok(())
    }
}

/// A secret as it is, and as it stands in base64 after 0, 1 or 2 other bytes, without the ends that depend on its neighbours. It is of
/// letters that percent-encoding leaves alone.
fn spellings(secret: &str) -> Vec<Vec<u8>> {
    let in_base64 = (0..3).map(|before| {
        let shifted = [&b"   "[..before], secret.as_bytes()].concat();
        let text = STANDARD_NO_PAD.encode(shifted);
        let whole = &text[(before * 8).div_ceil(6)..text.len() - 1];
        whole.as_bytes().to_vec()
    });
    in_base64.chain([secret.as_bytes().to_vec()]).collect()
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, visit)?;
        } else {
            visit(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SECRET: &str = "a-secret-of-the-fake-1f0c";

    /// Searches a record with one more file. Returns the complaint.
    fn with(file: &str, content: &str) -> Option<String> {
        let root = tempfile::tempdir().unwrap();
        let record = Record::begin(root.path()).unwrap();
        fs::write(record.0.join(REGISTER), format!("short\n{SECRET}\n")).unwrap();
        let file = record.0.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
        record.search().err().map(|error| error.to_string())
    }

    #[test]
    fn a_planted_secret_is_found_and_not_repeated() {
        let in_base64 = |before: &str| STANDARD_NO_PAD.encode(format!("{before}{SECRET} and more"));
        for content in [
            format!("a line with {SECRET}, and more"),
            in_base64(""),
            in_base64("x"),
            in_base64("id:"),
            in_base64("id:xy"),
        ] {
            for file in [
                "output",
                "outputs/1-2",
                "homes/1-3/state/journal.jsonl",
                "homes/1-3/state/.alerts/1.json",
            ] {
                let complaint = with(file, &content).unwrap();
                assert!(complaint.contains(file), "{complaint}");
                assert!(!complaint.contains(SECRET), "{complaint}");
            }
        }
    }

    #[test]
    fn secrets_may_stand_where_they_belong() {
        for file in [
            "homes/1-3/state/acme/session",
            "homes/1-3/elsewhere/acme/session.previous",
            "homes/1-3/exported.json",
            "homes/1-3/acme.secret",
            "homes/1-3/.credentials/procore.env",
        ] {
            assert_eq!(with(file, SECRET), None);
        }
        assert_eq!(with("output", "short, and nothing else"), None);
    }
}
