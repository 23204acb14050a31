//! Bytes to text: gzip, the byte order mark, UTF-8 or Latin-1. Anything else is refused with the
//! file and the line.

use crate::data::error::{DataError, Fault, Result};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// How a text file writes characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// With or without a byte order mark.
    #[default]
    Utf8,
    /// ISO 8859-1: every byte is the character of that number.
    Latin1,
}

/// The whole text of a file; a gzip file is unpacked. `name`: how messages show the file.
pub fn read_text(path: &Path, name: &str, encoding: Encoding) -> Result<String> {
    let mut bytes = Vec::new();
    open(path, name)?.read_to_end(&mut bytes).map_err(|error| unreadable(name, &error))?;
    decode(bytes, name, encoding)
}

/// The first `limit` bytes of text, cut after the last whole line (after the last whole character,
/// if the first line is longer) unless the file ends there, and whether it does.
pub(super) fn read_head(
    path: &Path,
    name: &str,
    encoding: Encoding,
    limit: u64,
) -> Result<(String, bool)> {
    let mut bytes = Vec::new();
    let mut reader = open(path, name)?.take(limit);
    reader.read_to_end(&mut bytes).map_err(|error| unreadable(name, &error))?;
    let whole = (bytes.len() as u64) < limit;
    if !whole {
        let line_end = bytes.iter().rposition(|byte| *byte == b'\n').map(|end| end + 1);
        bytes.truncate(line_end.unwrap_or_else(|| whole_characters(&bytes, encoding)));
    }
    Ok((decode(bytes, name, encoding)?, whole))
}

/// How many of the bytes are whole characters, where the last one may have been cut. A wrong byte is
/// no cut: it stays, and is reported.
fn whole_characters(bytes: &[u8], encoding: Encoding) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if encoding == Encoding::Utf8 && error.error_len().is_none() => {
            error.valid_up_to()
        }
        _ => bytes.len(),
    }
}

fn open(path: &Path, name: &str) -> Result<Box<dyn Read>> {
    let fault = |error: std::io::Error| DataError {
        file: Some(name.into()),
        ..DataError::io(path, &error)
    };
    let file = File::open(path).map_err(fault)?;
    if file.metadata().map_err(fault)?.is_dir() {
        return Err(DataError::new(Fault::NotFound, "is a folder, not a file").file(name));
    }
    let packed = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    Ok(match packed {
        true => Box::new(MultiGzDecoder::new(BufReader::new(file))),
        false => Box::new(file),
    })
}

fn unreadable(name: &str, error: &std::io::Error) -> DataError {
    DataError::new(Fault::Unreadable, format!("the file cannot be read: {error}")).file(name)
}

pub(super) fn decode(mut bytes: Vec<u8>, name: &str, encoding: Encoding) -> Result<String> {
    if encoding == Encoding::Latin1 {
        return Ok(bytes.into_iter().map(char::from).collect());
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err(DataError::new(Fault::Encoding, "the file is UTF-16, which is not read")
            .file(name)
            .line(1)
            .help("save it as UTF-8"));
    }
    if bytes.starts_with(&[0xEF, 0xBB, 0xBF]) {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let line = bytes.iter().take(at).filter(|byte| **byte == b'\n').count() as u64 + 1;
        let found = bytes.get(at).copied().unwrap_or_default();
        DataError::new(Fault::Encoding, format!("the byte 0x{found:02x} is not UTF-8"))
            .file(name)
            .line(line)
            .help("if the file is Latin-1, say `encoding = latin1`; else save it as UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_byte_order_mark_is_no_text_and_a_wrong_byte_is_named_with_its_line() {
        assert_eq!(decode(b"\xEF\xBB\xBFa\n".to_vec(), "f", Encoding::Utf8).unwrap(), "a\n");
        let error = decode(b"a\nb\nc\xE9\n".to_vec(), "f", Encoding::Utf8).unwrap_err();
        assert_eq!((error.fault, error.line), (Fault::Encoding, Some(3)));
        assert!(error.help.unwrap().contains("latin1"));
        assert_eq!(decode(b"caf\xE9".to_vec(), "f", Encoding::Latin1).unwrap(), "café");
        assert!(decode(b"\xFF\xFEa\0".to_vec(), "f", Encoding::Utf8).is_err());
    }

    /// A syllable is three bytes, so two of three heads end within one.
    #[test]
    fn a_head_that_ends_within_a_character_is_cut_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "한국어".repeat(200_000)).unwrap();
        for limit in [256 << 10, (256 << 10) + 1, (256 << 10) + 2] {
            let (text, whole) = read_head(&path, "a", Encoding::Utf8, limit).unwrap();
            assert_eq!((text.len() as u64, whole), (limit / 3 * 3, false));
        }
        std::fs::write(&path, [b"a\xE9".as_slice(), &[b'b'; 50]].concat()).unwrap();
        assert_eq!(read_head(&path, "a", Encoding::Utf8, 9).unwrap_err().fault, Fault::Encoding);
        assert_eq!(read_head(&path, "a", Encoding::Latin1, 2).unwrap().0, "aé");
    }

    #[test]
    fn gzip_is_unpacked_and_a_broken_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt.gz");
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all("é\n".as_bytes()).unwrap();
        let packed = packer.finish().unwrap();
        std::fs::write(&path, &packed).unwrap();
        assert_eq!(read_text(&path, "a", Encoding::Utf8).unwrap(), "é\n");
        std::fs::write(&path, &packed[..packed.len() - 4]).unwrap();
        assert_eq!(read_text(&path, "a", Encoding::Utf8).unwrap_err().fault, Fault::Unreadable);
    }
}
