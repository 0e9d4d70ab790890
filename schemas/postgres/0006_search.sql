-- Names are found by their words and by any part of one, in every component group.
--
-- The three groups of a name become one tsvector: each word with "^" before it, each
-- of its endings, and with "~" what it sounds like. Whatever part of a name is asked
-- for, in any script and however short, is then the beginning of a lexeme, which a
-- GIN index finds. Trigrams cannot: they need three letters in a row, and many a
-- Chinese, Japanese or Korean name has two. One index takes the place of six B-trees
-- and of the trigrams of four columns. tenant_id is not in it: a GIN index would walk
-- through all of a tenant's rows for each search, which takes forty times as long as
-- to leave out those few of other tenants that match.
--
-- A study has the modalities of its series, which change seldom: ModalitiesInStudy of
-- a rare one would else be looked for study by study.

CREATE EXTENSION IF NOT EXISTS fuzzystrmatch;

-- Names are stored as pacsless.dicom.keys.name_key folds them, since now without
-- accents; this does it for the rows that are there.
CREATE FUNCTION pg_temp.bare(name text) RETURNS text LANGUAGE sql IMMUTABLE
RETURN replace(replace(replace(translate(
    normalize(regexp_replace(normalize(name, NFD),
        '[\u0300-\u036F\u0591-\u05C7\u0610-\u061A\u0640\u064B-\u065F\u0670\u200B-\u200F]',
        '', 'g'), NFC),
    'øłđðħıىةکیٱ'
    'ァアィイゥウェエォオカガキギクグケゲコゴサザシジスズセゼソゾタダチヂッツヅテデトドナニヌネノ'
    'ハバパヒビピフブプヘベペホボポマミムメモャヤュユョヨラリルレロヮワヰヱヲンヴヵヶ',
    'olddhiيهكيا'
    'ぁあぃいぅうぇえぉおかがきぎくぐけげこごさざしじすずせぜそぞただちぢっつづてでとどなにぬねの'
    'はばぱひびぴふぶぷへべぺほぼぽまみむめもゃやゅゆょよらりるれろゎわゐゑをんゔゕゖ'),
    'æ', 'ae'), 'œ', 'oe'), 'þ', 'th');

CREATE FUNCTION name_sounds(word text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN word ~ '^[a-z]+$'
    THEN ARRAY['~' || dmetaphone(word), '~' || dmetaphone_alt(word)] ELSE '{}' END;
COMMENT ON FUNCTION name_sounds IS
    'Double Metaphone, of words in Latin letters: what sounds alike has a code in common.';

CREATE FUNCTION name_undivided(name text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN name ~ '[\u1100-\u11FF\u3040-\u30FF\u3400-\u9FFF\uAC00-\uD7AF\U00020000-\U0003FFFF]';
COMMENT ON FUNCTION name_undivided IS
    'Whether a name is in a script that nobody writes family and given name apart in: Han, kana, Hangul.';

-- PL/pgSQL, as a query in SQL would take ten times as long for each name.
CREATE FUNCTION name_words(alphabetic text, ideographic text, phonetic text) RETURNS tsvector
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    dividers CONSTANT text := '[ ^=.,\\''’·-]+';
    component_group text;
    word text;
    words text[];
    found text[] := '{}';
BEGIN
    FOREACH component_group IN ARRAY ARRAY[alphabetic, ideographic, phonetic] LOOP
        words := regexp_split_to_array(component_group, dividers);
        IF name_undivided(component_group) THEN
            words := words || array_to_string(words, '');
        END IF;
        FOREACH word IN ARRAY words LOOP
            CONTINUE WHEN word = '';
            found := found || ('^' || left(word, 32)) || name_sounds(word);
            FOR place IN 1..length(word) LOOP
                found := found || substr(word, place, 32);
            END LOOP;
        END LOOP;
    END LOOP;
    RETURN array_to_tsvector(found);
END;
$$;
COMMENT ON FUNCTION name_words IS
    'What a name is found by; functions/qido_rs/names.py asks for these lexemes.';

CREATE FUNCTION name_alike(words text[]) RETURNS tsquery
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CAST(string_agg('(''^' || word || ''''
        || CASE WHEN place = cardinality(words) THEN ':*' ELSE '' END
        || CASE WHEN name_undivided(word) THEN ' | ''' || word || ''':*' ELSE '' END
        || COALESCE((SELECT string_agg(' | ''' || sound || '''', '')
            FROM unnest(name_sounds(word)) AS sound), '') || ')', ' & ') AS tsquery)
    FROM unnest(words) WITH ORDINALITY AS one(word, place);
END;
COMMENT ON FUNCTION name_alike IS
    'Names that have each word or one that sounds like it; of the last the beginning is enough, and any '
    'place if its script does not divide words. No quotes and no backslashes may be in them.';

CREATE FUNCTION utc_offset(attributes jsonb) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT CASE WHEN stated ~ '^[+-][01][0-9][0-5][0-9] *$'
        THEN CAST(left(stated, 3) AS integer) * 60
            + CAST(left(stated, 1) || substr(stated, 4, 2) AS integer) END
    FROM (SELECT attributes #>> '{00080201,Value,0}') AS one(stated));
COMMENT ON FUNCTION utc_offset IS
    'Minutes by Timezone Offset From UTC; NULL if it is not stated or no offset.';

DROP INDEX study_patient_name, study_patient_name_ideographic, study_patient_name_phonetic,
    study_referring, study_referring_ideographic, study_referring_phonetic, study_text;

ALTER TABLE study ADD modalities text[] COLLATE "C" NOT NULL DEFAULT '{}';
COMMENT ON COLUMN study.modalities IS 'Those of its series, sorted.';
UPDATE study SET modalities = of_series.modalities
FROM (
    SELECT tenant_id, study_instance_uid, array_agg(DISTINCT modality) AS modalities
    FROM series WHERE modality <> '' GROUP BY tenant_id, study_instance_uid
) AS of_series
WHERE study.tenant_id = of_series.tenant_id
  AND study.study_instance_uid = of_series.study_instance_uid;

-- Each name is written anew and its words with it, in one pass.
ALTER TABLE study
    ALTER patient_name TYPE text COLLATE "C" USING pg_temp.bare(patient_name),
    ALTER patient_name_ideographic TYPE text COLLATE "C"
        USING pg_temp.bare(patient_name_ideographic),
    ALTER patient_name_phonetic TYPE text COLLATE "C" USING pg_temp.bare(patient_name_phonetic),
    ALTER referring_physician_name TYPE text COLLATE "C"
        USING pg_temp.bare(referring_physician_name),
    ALTER referring_physician_name_ideographic TYPE text COLLATE "C"
        USING pg_temp.bare(referring_physician_name_ideographic),
    ALTER referring_physician_name_phonetic TYPE text COLLATE "C"
        USING pg_temp.bare(referring_physician_name_phonetic),
    ADD patient_name_words tsvector NOT NULL GENERATED ALWAYS AS (name_words(
        patient_name, patient_name_ideographic, patient_name_phonetic)) STORED,
    ADD referring_physician_name_words tsvector NOT NULL GENERATED ALWAYS AS (name_words(
        referring_physician_name, referring_physician_name_ideographic,
        referring_physician_name_phonetic)) STORED;

CREATE INDEX study_words ON study USING gin (
    patient_name_words, referring_physician_name_words, modalities,
    study_description gin_trgm_ops
) WITH (fastupdate = off);  -- what waits to be put in would be read through by every search

-- Or the planner takes many a common word for a rare one, and reads and sorts all that
-- have it instead of the newest until the page is full.
ALTER TABLE study
    ALTER patient_name_words SET STATISTICS 300,
    ALTER referring_physician_name_words SET STATISTICS 300,
    ALTER study_description SET STATISTICS 300;

ANALYZE study;
