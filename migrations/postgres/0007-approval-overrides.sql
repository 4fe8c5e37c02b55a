-- Whether only an override opens what is asked for, and what the approver was promised of its undo. Of what was asked before,
-- nothing was.
ALTER TABLE approval ADD COLUMN kind TEXT COLLATE "C" NOT NULL DEFAULT 'approval';
ALTER TABLE approval ADD COLUMN coverage TEXT COLLATE "C" NOT NULL DEFAULT 'null';
