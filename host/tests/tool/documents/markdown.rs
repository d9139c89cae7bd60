//! What the tests need of a Markdown file: its blocks of code, its pieces of code, its headings and its links.

use std::{collections::BTreeSet, fs, ops::Range, path::PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A document, by its path in the repository.
pub(super) struct Document {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) blocks: Vec<Block>,
    /// What stands between backticks in the text.
    pub(super) pieces: Vec<Placed>,
    pub(super) links: Vec<Placed>,
    /// The headings, as GitHub makes anchors of them.
    pub(super) anchors: BTreeSet<String>,
}

/// A fenced block of code.
pub(super) struct Block {
    pub(super) language: String,
    pub(super) text: String,
    /// The line of its first line, from 1.
    pub(super) line: usize,
}

/// A text and its line.
pub(super) struct Placed {
    pub(super) text: String,
    pub(super) line: usize,
}

impl Document {
    pub(super) fn read(name: String, path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut document = Self {
            name,
            path,
            blocks: Vec::new(),
            pieces: Vec::new(),
            links: Vec::new(),
            anchors: BTreeSet::new(),
        };
        document.parse(&text);
        document
    }

    fn parse(&mut self, source: &str) {
        let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES;
        let line = |range: &Range<usize>| 1 + source[..range.start].matches('\n').count();
        let mut block: Option<Block> = None;
        let mut heading: Option<String> = None;
        for (event, range) in Parser::new_ext(source, options).into_offset_iter() {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    block = Some(Block {
                        language: language.to_string(),
                        text: String::new(),
                        line: line(&range) + 1,
                    });
                }
                Event::End(TagEnd::CodeBlock) => self.blocks.extend(block.take()),
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    self.anchors
                        .extend(heading.take().map(|text| anchor(&text)));
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    self.links.push(Placed {
                        text: dest_url.to_string(),
                        line: line(&range),
                    });
                }
                Event::Text(text) => {
                    if let Some(block) = &mut block {
                        block.text.push_str(&text);
                    }
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                    self.pieces.push(Placed {
                        text: text.to_string(),
                        line: line(&range),
                    });
                }
                _ => {}
            }
        }
    }
}

/// Makes a heading into its anchor, as GitHub does.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|character| match character {
        ' ' => Some('-'),
        '-' | '_' => Some(character),
        _ => character.is_alphanumeric().then_some(character),
    });
    kept.collect::<String>().to_lowercase()
}

/// A line of a console, and what the document shows of its answer.
#[derive(Debug)]
pub(super) struct Command {
    /// `$` for anybody, `#` for root, `>` on Windows.
    pub(super) prompt: char,
    pub(super) text: String,
    /// What the process is said to end with: 0 unless a comment says `exit code N`.
    pub(super) exit: i32,
    pub(super) shown: Vec<String>,
    pub(super) line: usize,
}

/// Takes a block of a console apart. A backslash at a line's end goes on with the next.
pub(super) fn commands(block: &Block) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for (offset, line) in block.text.lines().enumerate() {
        let begins = ["$ ", "# ", "> "]
            .iter()
            .any(|prompt| line.starts_with(prompt));
        match commands.last_mut() {
            Some(last) if last.text.ends_with('\\') => {
                last.text.push('\n');
                last.text.push_str(line);
                last.exit = said_exit(&last.text);
            }
            _ if begins => commands.push(Command {
                prompt: line.chars().next().expect("not empty"),
                text: line[2..].to_owned(),
                exit: said_exit(line),
                shown: Vec::new(),
                line: block.line + offset,
            }),
            Some(last) if !line.trim().is_empty() => last.shown.push(line.to_owned()),
            _ => {}
        }
    }
    commands
}

fn said_exit(text: &str) -> i32 {
    let said = text.split_once("exit code ").map_or("0", |(_, rest)| rest);
    let digits: String = said.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number behind `exit code`")
}

impl Command {
    /// Returns the command without the comment behind it.
    pub(super) fn bare(&self) -> &str {
        let code = self.text.split(" # ").next().unwrap_or_default();
        code.trim_end_matches([' ', '#'])
    }
}
