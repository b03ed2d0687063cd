//! The messages of a batch, one slice each.

use super::cursor::{Cursor, Stop};
use super::{ScanError, ScanLimits};

/// Splits a complete batch into its elements; pass each to [`super::scan`].
///
/// The iterator ends behind the last element, or behind the first error. An input that is cut off is
/// [`ScanError::Syntax`] here: a batch must be judged whole, as any element may be the one that is not allowed.
#[must_use]
pub fn batch_items<'b>(bytes: &'b [u8], limits: &ScanLimits) -> BatchItems<'b> {
    BatchItems { cursor: Cursor::new(bytes, limits), place: Place::Before }
}

/// Iterator of [`batch_items`].
#[derive(Clone, Debug)]
pub struct BatchItems<'b> {
    cursor: Cursor<'b>,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Before,
    Inside,
    Ended,
}

impl<'b> BatchItems<'b> {
    fn advance(&mut self) -> Result<Option<&'b [u8]>, Stop> {
        let has_element = match self.place {
            Place::Before => self.cursor.enter_array()?,
            Place::Inside => self.cursor.next_element()?,
            Place::Ended => return Ok(None),
        };
        if !has_element {
            self.place = Place::Ended;
            self.cursor.end()?;
            return Ok(None);
        }
        self.place = Place::Inside;
        self.cursor.peek()?;
        let start = self.cursor.offset();
        self.cursor.skip()?;
        Ok(Some(self.cursor.since(start)))
    }
}

impl<'b> Iterator for BatchItems<'b> {
    type Item = Result<&'b [u8], ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        let advanced = self.advance();
        if advanced.is_err() {
            self.place = Place::Ended;
        }
        match advanced {
            Ok(item) => item.map(Ok),
            Err(Stop::Partial) => Some(Err(ScanError::Syntax)),
            Err(Stop::Refused(error)) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_cut_out_and_errors_end_the_batch() {
        let items = |text: &'static str| {
            batch_items(text.as_bytes(), &ScanLimits::default())
                .map(|item| item.map(|bytes| core::str::from_utf8(bytes).unwrap_or("")))
                .collect::<Vec<_>>()
        };
        assert_eq!(items(r#" [ {"a":[1,2]} , "x,y" ,3 ] "#), [Ok(r#"{"a":[1,2]}"#), Ok(r#""x,y""#), Ok("3")]);
        assert!(items("[]").is_empty());
        assert_eq!(items("[1,]"), [Ok("1"), Err(ScanError::Syntax)]);
        assert_eq!(items("[1"), [Err(ScanError::Syntax)], "a number at the end may go on");
        assert_eq!(items("[1 "), [Ok("1"), Err(ScanError::Syntax)]);
        assert_eq!(items("[1]x"), [Ok("1"), Err(ScanError::TrailingData)]);
        assert_eq!(items("{}"), [Err(ScanError::Syntax)]);
    }
}
