//! The words that are one token each, and of which answers are made.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The chat template's marks come first, then what answers draw from.
const MARKS: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
/// The roles and the line break of the chat template; then words, some with what breaks careless code:
/// quotes, line breaks, backslashes, and characters of two, three and four bytes.
const WORDS: &str = "user|assistant|system|tool|\n| the| of| and| to| a| in| is| you| that| it| for| on| with| as| are| this| be| \
at| or| from| one| had| by| word| but| not| what| all| were| we| when| your| can| said| there| use| an| each| which| she| do| \
how| their| if| will| up| other| about| out| many| then| them| these| so| some| her| would| make| like| him| into| time| has| \
look| two| more| write| go| see| number| no| way| could| people| my| than| first| water| been| call| who| oil| its| now| find| \
long| down| day| did| get| come| made| may| part| over| new| sound| take| only| little| work| know| place| year| live| me| back| \
give| most| very| after| thing| our| just| name| good| sentence| man| think| say| great| where| help| through| much| before| line| \
right| too| mean| old| any| same| tell| boy| follow| came| want| show| also| around| form| three| small| set| put| end| does| \
another| well| large| must| big| even| such| because| turn| here| why| ask| went| men| read| need| land| different| home| us| \
move| try| kind| hand| picture| again| change| off| play| spell| air| away| animal| house| point| page| letter| mother| answer| \
found| study| still| learn| should| world| high| every| near| add| food| between| own| below| country| plant| last| school| \
father| keep| tree| never| start| city| earth| eye| light| thought| head| under| story| saw| left| few| while| along| might| \
close| something| seem| next| hard| open| example| begin| life| always| those| both| paper| together| got| group| often| run|\
.|,|;|:|!|?| -|'s|ing|ed|ly| \"|\"| (|)|\n\n|\t| \\| é| ü| 漢字| 日本| 🙂| naïve| café|{|}|[|]|0|1|2|3|4|5|6|7|8|9|true|false|null| hello|hello|Hello";

/// The first id that is a word; below it every id is one byte.
pub(crate) const FIRST_WORD: u32 = 256;

struct Vocabulary {
    words: Vec<&'static str>,
    ids: HashMap<&'static str, u32>,
}

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
    let words: Vec<_> = MARKS.into_iter().chain(WORDS.split('|')).collect();
    let ids = (FIRST_WORD..).zip(&words).map(|(id, word)| (*word, id)).collect();
    Vocabulary { words, ids }
});

/// The id of a word that is one token.
pub(crate) fn id_of(word: &str) -> Option<u32> {
    VOCABULARY.ids.get(word).copied()
}

/// The word of an id, if the id is a word's.
pub(crate) fn word(id: u32) -> Option<&'static str> {
    let index = usize::try_from(id.checked_sub(FIRST_WORD)?).ok()?;
    VOCABULARY.words.get(index).copied()
}

/// The words an answer may hold, with their ids: everything but the template's marks.
pub(crate) fn words() -> (u32, &'static [&'static str]) {
    (FIRST_WORD + 3, &VOCABULARY.words[MARKS.len()..])
}

/// The mark that `text` begins with.
pub(crate) fn mark_at(text: &str) -> Option<&'static str> {
    MARKS.into_iter().find(|mark| text.starts_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_there_once() {
        assert_eq!(VOCABULARY.ids.len(), VOCABULARY.words.len());
    }
}
