-- Who people are, one row each; ``state`` is what ``contacts`` last said of them. The columns are there to be found by.
CREATE TABLE people (
    tenant text NOT NULL,
    person_id text NOT NULL,
    contact_id bigint,
    bsuid text,
    phone_key text, -- E.164 in its one spelling (addresses.phone_key)
    version bigint NOT NULL,
    state jsonb NOT NULL,
    PRIMARY KEY (tenant, person_id)
);
CREATE INDEX people_by_bsuid ON people (tenant, bsuid) WHERE bsuid IS NOT NULL;
CREATE INDEX people_by_phone ON people (tenant, phone_key) WHERE phone_key IS NOT NULL;
