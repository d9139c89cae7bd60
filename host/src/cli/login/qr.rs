//! The link as a QR code, for a phone's camera. It holds the link alone, which is no secret.

use std::fmt;
use std::io::{self, IsTerminal as _};

use anstyle::{AnsiColor, Style};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// What standard error can show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Display {
    /// Columns and rows; `None` where nothing limits them.
    size: Option<(usize, usize)>,
    unicode: bool,
    colours: bool,
}

impl Display {
    /// Asks the system.
    pub(super) fn of_stderr() -> Self {
        let is_terminal = io::stderr().is_terminal();
        let size = is_terminal.then(crossterm::terminal::size);
        Self {
            size: size
                .and_then(Result::ok)
                .map(|(columns, rows)| (columns.into(), rows.into())),
            // A file is read as UTF-8.
            unicode: !is_terminal || supports_unicode::supports_unicode(),
            colours: is_terminal,
        }
    }
}

/// Why there is no QR code.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Omitted {
    /// The terminal shows ASCII only.
    Ascii,
    /// The terminal has fewer columns or rows than these.
    Small(usize, usize),
    /// More than a QR code can hold.
    TooLong,
}

impl fmt::Display for Omitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ascii => {
                f.write_str("No QR code of the link: this terminal shows no Unicode characters.")
            }
            Self::Small(columns, rows) => write!(
                f,
                "No QR code of the link: it needs a terminal of {columns} columns and {rows} rows. Enlarge it and run `procore-auth login --qr` for one."
            ),
            Self::TooLong => f.write_str("No QR code of the link: it is too long for one."),
        }
    }
}

/// Draws the link, two modules in each character, dark on light whatever the terminal's colours are: cameras expect that.
pub(super) fn draw(link: &str, display: Display) -> Result<String, Omitted> {
    if !display.unicode {
        return Err(Omitted::Ascii);
    }
    let code = QrCode::with_error_correction_level(link, EcLevel::L);
    let code = code.map_err(|_| Omitted::TooLong)?;
    // Dark modules are drawn in the text's colour. Without colours, most terminals have light text: there the light ones are.
    let (dark, light) = if display.colours {
        (Dense1x2::Dark, Dense1x2::Light)
    } else {
        (Dense1x2::Light, Dense1x2::Dark)
    };
    let mut renderer = code.render::<Dense1x2>();
    let drawn = renderer.dark_color(dark).light_color(light).build();
    let (columns, rows) = extent(&drawn);
    // A row for what follows it: a code that is cut off is none.
    let fits = |(width, height)| columns <= width && rows < height;
    if !display.size.is_none_or(fits) {
        return Err(Omitted::Small(columns, rows + 1));
    }
    Ok(coloured(&drawn, display))
}

fn extent(drawn: &str) -> (usize, usize) {
    let columns = drawn.lines().map(|line| line.chars().count()).max();
    (columns.unwrap_or_default(), drawn.lines().count())
}

fn coloured(drawn: &str, display: Display) -> String {
    let style = Style::new()
        .fg_color(Some(AnsiColor::Black.into()))
        .bg_color(Some(AnsiColor::BrightWhite.into()));
    let lines = drawn.lines().map(|line| {
        if display.colours {
            format!("{style}{line}{style:#}\n")
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::{Display, Omitted, draw};

    const LINK: &str = "https://login-sandbox.procore.com/oauth/authorize?response_type=code&client_id=0123456789012345678901234567890123456789012345678901234567890123&redirect_uri=http%3A%2F%2Flocalhost%3A9876%2Fcallback&state=0123456789012345678901234567890123456789012";
    const FILE: Display = Display {
        size: None,
        unicode: true,
        colours: false,
    };

    #[test]
    fn s53_it_fits_the_terminal_or_says_what_it_needs() {
        let Err(Omitted::Small(columns, rows)) = draw(
            LINK,
            Display {
                size: Some((0, 0)),
                ..FILE
            },
        ) else {
            panic!("nothing fits there");
        };
        assert!(
            columns <= 80 && rows <= 40,
            "a usual link, a usual window: {columns} x {rows}"
        );
        for (size, fits) in [
            ((columns, rows), true),
            ((columns - 1, rows), false),
            ((columns, rows - 1), false),
        ] {
            let display = Display {
                size: Some(size),
                ..FILE
            };
            assert_eq!(draw(LINK, display).is_ok(), fits, "{size:?}");
        }
    }

    /// Returns the modules that a camera would see as dark; two of them stand in each character, one above the other.
    fn modules(drawn: &str, display: Display) -> Vec<Vec<bool>> {
        let rows = drawn.lines().flat_map(|line| {
            let halves = line.chars().map(|c| match c {
                '\u{2588}' => [true, true],
                '\u{2580}' => [true, false],
                '\u{2584}' => [false, true],
                _ => [false, false],
            });
            let halves: Vec<_> = halves.collect();
            [0, 1].map(|half| {
                halves
                    .iter()
                    .map(|pair| pair[half] == display.colours)
                    .collect()
            })
        });
        rows.collect()
    }

    #[test]
    fn s53_a_camera_reads_the_link() {
        let drawn = draw(LINK, FILE).expect("drawn");
        let modules = modules(&drawn, FILE);
        let side = modules[0].len();
        let quiet = |row: &Vec<bool>| row.iter().all(|dark| !dark);
        assert!(modules[..4].iter().all(quiet), "a margin of four modules");
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(side, side, |x, y| {
            if modules[y][x] { 0 } else { 255 }
        });
        let [code] = &image.detect_grids()[..] else {
            panic!("not one code");
        };
        let (_, link) = code.decode().expect("readable");
        assert_eq!(link, LINK);
    }

    #[test]
    fn it_is_drawn_where_it_can_be_read_only() {
        let ascii = Display {
            unicode: false,
            ..FILE
        };
        assert_eq!(draw(LINK, ascii), Err(Omitted::Ascii));
        assert_eq!(draw(&"x".repeat(5000), FILE), Err(Omitted::TooLong));
    }
}
